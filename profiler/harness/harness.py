"""`Harness`: runs trials in processes of their own and turns whatever becomes of them into measurements."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from profiler.environment import environment_of
from profiler.errors import NotPossibleError, SizeupError
from profiler.harness.kernel import oom_kills
from profiler.harness.lock import device_lock
from profiler.harness.messages import TrialRequest
from profiler.harness.process import TrialProcess, kill_group
from profiler.harness.protocol import MeasurementProtocol
from profiler.measurement import Measurement, Outcome, Phase, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from profiler.devices.protocol import Device
    from profiler.spec import TrialSpec

    Listener = Callable[[dict[str, Any]], None]


@dataclass(kw_only=True)
class _Ending:
    """What is known of a trial so far."""

    phase: Phase | None = Phase.START
    result: dict[str, Any] | None = None
    exit_code: int | None = None
    timed_out: bool = False
    start_seconds: float | None = None
    oom_kills_before: int | None = field(default_factory=oom_kills)


class Harness:
    """Measures specs on one device, one fresh process each.

    Use it as a context manager: it keeps a process with the libraries imported between trials where the
    device allows forking, and ends it at the end.

    Args:
        device: What to measure on.
        protocol: How.
        listener: Called with each event of a trial, and with `waiting` while another holds the device.

    Raises:
        SizeupError: If the device is not there.
    """

    def __init__(
        self,
        device: Device,
        protocol: MeasurementProtocol | None = None,
        *,
        listener: Listener | None = None,
    ) -> None:
        self.device = device
        self.protocol = protocol or MeasurementProtocol()
        try:
            self.environment = environment_of(device)
        except NotPossibleError as error:
            raise SizeupError(f"cannot measure on {device.name}: {error}") from None
        self._listener: Listener = listener or (lambda _event: None)
        self._process: TrialProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process that is kept between trials, and any trial in it."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def measure(
        self, spec: TrialSpec, *, repeat: int = 1, attempt: int = 1, sweep: str | None = None
    ) -> Measurement:
        """Run one trial to its end and return its row; a failure of the trial is a row, not an exception.

        Ctrl-C ends the trial and is raised on.

        Raises:
            SizeupError: If no process for trials can be started at all.
        """
        with device_lock(self.device.name, waiting=lambda: self._listener({"event": "waiting"})):
            started = time.monotonic()
            ending = _Ending()
            try:
                self._run(spec, ending, started)
            except BaseException:
                self.close()  # or the next trial would hear the events of this one
                raise
            figures = dict((ending.result or {}).get("figures") or {})
            figures["trial_seconds"] = time.monotonic() - started
            figures["start_seconds"] = ending.start_seconds
            return self._row(spec, ending, repeat=repeat, attempt=attempt, sweep=sweep, figures=figures)

    def not_run(
        self, spec: TrialSpec, reason: Reason, message: str, *, repeat: int = 1, attempt: int = 1,
        sweep: str | None = None,
    ) -> Measurement:  # fmt: skip
        """Return the row of a trial that was not run, or not to its end, by decision."""
        outcome = Outcome.SKIPPED if reason is Reason.AFTER_OOM else Outcome.FAILED
        return self._measurement(
            spec, repeat=repeat, attempt=attempt, sweep=sweep, outcome=outcome, reason=reason, message=message
        )

    def _run(self, spec: TrialSpec, ending: _Ending, started: float) -> None:
        process = self._ready_process(spec)
        process.clear_log()
        process.send(TrialRequest(spec=spec, device=self.device.name_in_trial, protocol=self.protocol))
        trial_id = None if process.forks else process.process_id
        if not process.forks:
            ending.start_seconds = time.monotonic() - started
        deadline = time.monotonic() + self.protocol.timeout_seconds
        while True:
            event = process.next_event(deadline)
            if event is None:
                ending.timed_out = True
                kill_group(trial_id if trial_id is not None else process.process_id)
                deadline = time.monotonic() + 60  # a killed process says so at once
                if trial_id is None:
                    self.close()
                    return
                trial_id = None
                continue
            self._listener(event)
            match event["event"]:
                case "started":
                    trial_id = event["process"]
                    ending.start_seconds = event["monotonic_seconds"] - started
                case "phase":
                    ending.phase = Phase(event["phase"])
                case "progress":
                    ending.phase = None  # from here to the passes at the end, phases are not told
                case "result":
                    ending.result = event
                case "exited":
                    ending.exit_code = event["code"]
                    return
                case "ended":
                    ending.exit_code = process.exit_code()
                    return

    def _ready_process(self, spec: TrialSpec) -> TrialProcess:
        environment = self.device.child_environment(spec)
        if self._process is not None and not (
            self._process.forks and self._process.is_running and self._process.environment == environment
        ):
            self.close()
        if self._process is None:
            self._process = TrialProcess(forks=self.device.forks, environment=environment)
        if not self._process.wait_ready():
            tail = self._process.log_tail()
            self.close()
            raise SizeupError(f"the process for trials did not start: {tail or 'it said nothing'}")
        return self._process

    def _row(self, spec: TrialSpec, ending: _Ending, *, figures: dict[str, Any], **place: Any) -> Measurement:
        result = ending.result
        if result is not None and result["outcome"] == Outcome.OK:
            return self._measurement(
                spec,
                **place,
                outcome=Outcome.OK,
                message=result.get("message"),
                figures=figures,
                step_seconds=tuple(result["step_seconds"]),
            )
        phase = ending.phase
        if result is not None:
            outcome, reason = Outcome(result["outcome"]), Reason(result["reason"])
            phase, message = Phase(result["phase"]), result["message"]
        else:
            outcome, reason, message = self._death(ending)
        return self._measurement(
            spec, **place, outcome=outcome, reason=reason, phase=phase, message=message, figures=figures
        )

    def _death(self, ending: _Ending) -> tuple[Outcome, Reason, str]:
        """Say why a trial ended without a result."""
        if ending.timed_out:
            limit = self.protocol.timeout_seconds
            return Outcome.TIMEOUT, Reason.TIME_LIMIT, f"not done after {limit:g} s"
        code = ending.exit_code
        if code == -signal.SIGKILL and _kernel_killed_since(ending.oom_kills_before):
            return Outcome.OOM, Reason.HOST_OOM, "the kernel killed the process: the host ran out of memory"
        tail = self._process.log_tail() if self._process is not None else ""
        if code == -signal.SIGABRT and "std::bad_alloc" in tail:  # memory refused where C++ cannot say so
            return Outcome.OOM, Reason.HOST_OOM, f"the host gave no more memory: {tail}"
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"exited with code {code}"
        return Outcome.FAILED, Reason.CRASH, f"the process {how}" + (f": {tail}" if tail else "")

    def _measurement(self, spec: TrialSpec, *, message: str | None = None, **content: Any) -> Measurement:
        if message is not None:
            # Libraries' messages may hold halves of characters or NULs, which no database takes.
            message = message.replace("\0", " ").encode(errors="replace").decode()
        return Measurement(
            spec=spec,
            device=self.device.name,
            origin=self.device.origin,
            environment=self.environment,
            protocol=self.protocol.recorded,
            message=message,
            **content,
        )


def _kernel_killed_since(before: int | None) -> bool:
    after = oom_kills()
    return before is not None and after is not None and after > before

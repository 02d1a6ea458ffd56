"""`fit`: answers whether a trial fits on a GPU, from traces on fake tensors or from the cache."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from estimators.memory import Verdict, estimate_memory
from estimators.symbolic.tracer import Tracer, TraceRequest
from estimators.target import Target
from planner.fit.answer import Basis, FailedAt, FitAnswer, PeakAt, Seconds
from planner.fit.saved import answer_path, read_answer, write_answer
from planner.fit.sizes import largest_sizes
from planner.fit.suggestions import suggest as suggestions_for
from planner.fit.tracing import as_traced, is_shortened
from profiler.catalog import find_gpu
from profiler.environment import package_version
from profiler.errors import NotPossibleError, SizeupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from estimators.ledger import Ledger
    from estimators.memory import MemoryEstimate, OutOfMemoryAt
    from planner.fit.sizes import LargestSizes
    from profiler.catalog import GpuFacts
    from profiler.spec import TrialSpec

_EXECUTED = ("torch", "transformers", "peft", "bitsandbytes")
_GIB = 2**30


def _say_nothing(stage: str) -> None:
    """Tell nobody what is being done."""


def fit(
    spec: TrialSpec,
    gpu: GpuFacts | str,
    *,
    suggest: bool = True,
    tracer: Tracer | None = None,
    on_stage: Callable[[str], None] = _say_nothing,
) -> FitAnswer:
    """Return whether a trial fits on a GPU, the most of it that does, and ways to make it fit.

    The first answer to a question takes seconds; it is kept, and given again at once.

    Args:
        spec: The trial.
        gpu: A GPU of the catalogue, or a name of one.
        suggest: Look for ways to make it fit, if it does not; they take longer than the verdict.
        tracer: Gives the traces; by default one of this call's own, whose start takes seconds.
        on_stage: Is told in a few words what is being done.

    Raises:
        UsageError: If there is no such GPU.
        NotPossibleError: If it is no CUDA GPU, or a library refuses the trial.
        UnreachableError: If the model's configuration is on a hub that does not answer.
    """
    facts = find_gpu(gpu) if isinstance(gpu, str) else gpu
    target = Target.of(facts)
    path = answer_path(spec, facts, sizes=True, suggestions=suggest)
    if (answer := read_answer(path)) is not None:
        return answer
    with _tracer(tracer) as used:
        on_stage("tracing the training step")
        ledger = used.trace(as_traced(spec), target)
        answer = _answer(ledger, spec, facts)
        on_stage("looking for the largest sizes")
        sizes, reason = _sizes(spec, facts, used)
        suggestions = answer.suggestions
        if suggest and answer.verdict is not Verdict.FITS:
            on_stage("trying ways to make it fit")
            suggestions = suggestions_for(answer, facts, used, sizes)
    found = {
        "largest_batch_size": sizes.batch_size if sizes else None,
        "longest_sequence": sizes.sequence_length if sizes else None,
        "suggestions": suggestions,
        "basis": answer.basis.model_copy(update={"sizes_unknown_because": reason}),
    }
    answer = answer.model_copy(update=found)
    write_answer(answer, path)
    return answer


def fit_all(
    spec: TrialSpec,
    gpus: Sequence[GpuFacts],
    *,
    tracer: Tracer | None = None,
    on_stage: Callable[[str], None] = _say_nothing,
) -> list[FitAnswer | SizeupError]:
    """Return for each of several GPUs whether a trial fits, or the error that says why that is not known.

    Neither the largest sizes nor ways to make it fit are looked for. GPUs with equal kernels share a trace.

    Args:
        spec: The trial.
        gpus: GPUs of the catalogue.
        tracer: As for `fit`.
        on_stage: As for `fit`.
    """
    answers: dict[str, FitAnswer | SizeupError] = {}
    targets: dict[str, Target] = {}
    for gpu in gpus:
        if (answer := read_answer(_short_path(spec, gpu))) is not None:
            answers[gpu.id] = answer
            continue
        try:
            targets[gpu.id] = Target.of(gpu)
        except SizeupError as error:
            answers[gpu.id] = error
    if different := list(dict.fromkeys(targets.values())):
        with _tracer(tracer) as used:
            on_stage(f"tracing the training step for {len(different)} kinds of GPUs")
            traced = used.trace_all(
                [TraceRequest(spec=as_traced(spec), target=target) for target in different]
            )
        ledgers = dict(zip(different, traced, strict=True))
        for gpu in gpus:
            if gpu.id in targets:
                answers[gpu.id] = _short_answer(ledgers[targets[gpu.id]], spec, gpu)
    return [answers[gpu.id] for gpu in gpus]


def _short_path(spec: TrialSpec, gpu: GpuFacts) -> Path:
    return answer_path(spec, gpu, sizes=False, suggestions=False)


def _short_answer(ledger: Ledger | SizeupError, spec: TrialSpec, gpu: GpuFacts) -> FitAnswer | SizeupError:
    if isinstance(ledger, SizeupError):
        return ledger
    try:
        answer = _answer(ledger, spec, gpu)
    except SizeupError as error:
        return error
    write_answer(answer, _short_path(spec, gpu))
    return answer


def _sizes(spec: TrialSpec, gpu: GpuFacts, tracer: Tracer) -> tuple[LargestSizes | None, str | None]:
    """Return the largest sizes, or why they are not known."""
    try:
        return largest_sizes(spec, gpu, tracer), None
    except NotPossibleError as error:
        return None, str(error)


@contextlib.contextmanager
def _tracer(given: Tracer | None) -> Iterator[Tracer]:
    if given is not None:
        yield given
    else:
        with Tracer() as own:
            yield own


def _answer(ledger: Ledger, spec: TrialSpec, gpu: GpuFacts) -> FitAnswer:
    """Return the answer without sizes and suggestions."""
    started = time.perf_counter()
    estimate = estimate_memory(ledger, spec, gpu)
    took = ledger.facts["seconds"]
    return FitAnswer(
        spec=spec,
        gpu=gpu.id,
        verdict=estimate.verdict,
        fits_only_with_retries=estimate.fits_only_with_retries,
        failed_at=_failed_at(estimate.failed_at),
        peak_allocated_bytes=estimate.peak_allocated_bytes,
        peak_reserved_bytes=estimate.peak_reserved_bytes,
        peak_process_bytes=estimate.peak_process_bytes,
        interval_process_bytes=estimate.interval_process_bytes,
        interval_level=estimate.interval_level,
        breakdown_bytes=estimate.breakdown_bytes,
        phase_peaks_bytes={str(phase): peak for phase, peak in estimate.phase_peaks_bytes.items()},
        step_peaks_reserved_bytes=estimate.step_peaks_reserved_bytes,
        largest_batch_size=None,
        longest_sequence=None,
        suggestions=(),
        assumptions=(*ledger.facts["assumptions"], *_assumptions(spec, estimate)),
        basis=_basis(ledger, estimate),
        seconds=Seconds(imports=took["imports"], trace=took["trace"], replay=time.perf_counter() - started),
    )


def _failed_at(failure: OutOfMemoryAt | None) -> FailedAt | None:
    if failure is None:
        return None
    return FailedAt(phase=failure.moment.phase, module=failure.moment.module, bytes=failure.bytes)


def _assumptions(spec: TrialSpec, estimate: MemoryEstimate) -> Iterator[str]:
    if is_shortened(spec):
        yield "every micro-batch after the second takes what the second takes"
    card = estimate.gpu_memory
    low, high = (end / _GIB for end in card.context_bytes_range)
    if low < high:
        context = card.context_bytes / _GIB
        yield f"the CUDA context takes {context:.2f} GiB ({low:.2f} to {high:.2f})"
    yield "nothing else uses the GPU"


def _basis(ledger: Ledger, estimate: MemoryEstimate) -> Basis:
    moment = estimate.peak_at
    return Basis(
        versions={name: package_version(name) for name in _EXECUTED},
        attention_kernels=tuple(ledger.facts["attention_kernels"]),
        trainable_parameters=ledger.facts["trainable_parameters"],
        total_parameters=ledger.facts["total_parameters"],
        peak_at=PeakAt(phase=moment.phase, step=moment.step, module=moment.module),
        usable_bytes_range=estimate.gpu_memory.usable_bytes_range,
        context_bytes_range=estimate.gpu_memory.context_bytes_range,
        gpu_memory_source=estimate.gpu_memory.source,
        interval_rows=estimate.residuals.rows,
        interval_source=estimate.residuals.source,
        sizes_unknown_because="they are looked for on one GPU only",
    )

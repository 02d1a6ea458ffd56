"""What the harness relies on in every device; a device's test class derives from `DeviceContract`."""

import gc
import json
import os

import pytest
import torch

from profiler.measurement import FIGURES, Phase
from profiler.spec import TrialSpec

STEPS = 4


class DeviceContract:
    """Derive from it, and give the fixture `device`."""

    @pytest.fixture
    def figures(self, device):
        """What the meter says of a small piece of work, in the order in which the harness asks."""
        gc.collect()  # what other tests left behind
        where = device.torch_device()
        meter = device.meter()
        meter.begin()
        with meter.load():
            weight = torch.zeros(256, 256, device=where, requires_grad=True)
        for _ in range(2):
            (weight @ weight).sum().backward()
        meter.end_warmup()
        with meter.timing() as timer:
            for _ in range(STEPS):
                timer.start_step()
                (weight @ weight).sum().backward()
                timer.end_step()
        self.step_seconds = list(timer.step_seconds())
        self.host_seconds = list(timer.host_seconds())
        weight.grad = None
        with meter.phase_pass() as watch:
            for _ in range(2):
                with watch(Phase.FORWARD):
                    loss = (weight @ weight).sum()
                with watch(Phase.BACKWARD):
                    loss.backward()
                with watch(Phase.OPTIMIZER), torch.no_grad():
                    weight -= 0.1 * weight.grad
                    weight.grad = None
        return meter.figures()

    def test_name_and_origin(self, device):
        assert device.name.split(":")[0] in ("cpu", "cuda", "virtual")
        assert device.origin in ("measured", "virtual")
        assert device.forks in (True, False)

    def test_facts_are_json_and_stay_the_same(self, device):
        facts = device.facts()
        assert json.loads(json.dumps(facts)) == facts
        assert facts["device_name"]
        assert device.facts() == facts

    @pytest.mark.parametrize("allocator", [None, "default", "expandable"])
    def test_environment_variables_of_a_trial_are_texts(self, device, allocator):
        spec = allocator and TrialSpec.from_canonical(
            {"model": "x", "task": "causal-lm", "allocator": allocator}
        )
        variables = device.child_environment(spec)
        assert all(isinstance(name, str) and isinstance(value, str) for name, value in variables.items())
        assert device.child_environment(spec) == variables

    def test_asking_changes_nothing_here(self, device):
        before = dict(os.environ)
        device.child_environment(None)
        device.facts()
        assert dict(os.environ) == before

    def test_an_error_of_the_program_is_no_matter_of_the_device(self, device):
        assert device.failure(ValueError("no such thing")) is None
        assert device.failure(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None

    def test_the_meter_gives_figures_of_the_table(self, figures):
        assert set(figures) <= set(FIGURES)
        for name, value in figures.items():
            assert isinstance(value, FIGURES[name].kind), name
            if "bytes" in name:
                assert value >= 0, name

    def test_every_phase_has_its_peak_below_that_of_the_trial(self, figures):
        phases = [f"{phase}_peak_allocated_bytes" for phase in ("load", "forward", "backward", "optimizer")]
        assert all(name in figures for name in phases)
        assert max(figures[name] for name in phases) <= figures["peak_allocated_bytes"]
        assert figures["load_peak_allocated_bytes"] >= 256 * 256 * 4
        assert figures["backward_peak_allocated_bytes"] >= 2 * 256 * 256 * 4
        assert figures["resident_bytes"] <= figures["peak_allocated_bytes"]

    def test_every_step_has_its_time(self, device, figures):
        assert {len(self.step_seconds), len(self.host_seconds)} <= {0, STEPS}
        assert all(seconds > 0 for seconds in (*self.step_seconds, *self.host_seconds))
        assert self.step_seconds or device.origin == "virtual"
        assert self.step_seconds or self.host_seconds

    def test_notes_are_sentences(self, device, figures):
        meter = device.meter()
        meter.begin()
        meter.figures()
        assert all(isinstance(note, str) and note for note in meter.notes())

    def test_a_peak_of_flops_is_known_or_absent(self, device):
        for precision in ("bf16", "fp16", "fp32", "amp-bf16", "amp-fp16"):
            peak = device.peak_flops_per_second(precision)
            assert peak is None or peak > 1e9

"""Real trials of a tiny model on the CPU: what their rows say."""

import pytest

from profiler.measurement import FIGURES, Outcome, Phase, Reason
from tests.profiler.harness.conftest import ENDLESS

LARGE = {"batch_size": 512, "sequence_length": 256}  # half a gigabyte of activations and more
MEMORY = {
    "peak_allocated_bytes", "peak_process_bytes", "resident_bytes", "warmup_peak_process_bytes",
    "load_peak_allocated_bytes", "forward_peak_allocated_bytes", "backward_peak_allocated_bytes",
    "optimizer_peak_allocated_bytes",
}  # fmt: skip
TIME = {
    "step_seconds_median", "step_seconds_p05", "step_seconds_p95", "step_seconds_ci95_low",
    "step_seconds_ci95_high", "steps_timed", "warmup_steps", "warmup_stable", "tokens_per_second",
    "tokens_per_second_nonpad", "samples_per_second", "trial_seconds", "start_seconds", "load_seconds",
}  # fmt: skip
OTHER = {"device_busy", "trainable_parameters", "total_parameters", "flops_per_step"}


def test_a_trial_that_goes_well_has_every_figure(measure, spec, harness):
    row = measure(spec(method="lora"))
    assert (row.outcome, row.reason, row.message) == (Outcome.OK, None, None)
    assert set(row.figures) == MEMORY | TIME | OTHER
    assert all(isinstance(value, FIGURES[name].kind) for name, value in row.figures.items())
    assert row.figures["steps_timed"] == len(row.step_seconds) == 6
    assert row.figures["warmup_steps"] == 1
    assert (row.figures["trainable_parameters"], row.figures["total_parameters"]) == (3584, 110_400)
    assert (row.device, row.origin, row.environment) == ("cpu", "measured", harness.environment)
    assert row.protocol["timed_min_steps"] == 6
    seconds = sum(row.step_seconds)
    assert row.figures["tokens_per_second"] == pytest.approx(6 * 32 / seconds)
    assert row.figures["tokens_per_second_nonpad"] == pytest.approx(6 * 31 / seconds)
    assert row.figures["samples_per_second"] == pytest.approx(6 * 2 / seconds)
    highest = row.figures["peak_allocated_bytes"]
    assert all(row.figures[name] <= highest for name in MEMORY if "allocated" in name)
    assert row.figures["load_peak_allocated_bytes"] >= 4 * row.figures["total_parameters"]


def test_full_fine_tuning_holds_weights_gradients_and_states(measure, spec):
    row = measure(spec())
    parameters = row.figures["total_parameters"]
    assert row.figures["trainable_parameters"] == parameters
    # fp32 weights and AdamW's two states after a step; gradients, too, in the optimizer.
    assert 12 * parameters <= row.figures["resident_bytes"] < 12.5 * parameters
    assert row.figures["optimizer_peak_allocated_bytes"] >= 16 * parameters


def test_two_trials_take_the_same_bytes(measure, spec):
    rows = [measure(spec(method="lora")) for _ in range(2)]
    names = [name for name in MEMORY if "allocated" in name] + ["resident_bytes", "flops_per_step"]
    assert {name: rows[0].figures[name] for name in names} == {name: rows[1].figures[name] for name in names}


def test_flops_are_those_of_the_products(measure, spec):
    row = measure(spec(attention="eager", padding_mask=False))
    layer = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 128  # q, k and v, o, and three of the MLP
    tokens = 32
    products = 2 * tokens * (2 * layer + 64 * 256)
    attention = 2 * 2 * (2 * 2 * 4 * 16 * 16 * 16)  # two layers; scores and values; 2 samples, 4 heads
    forward = products + attention
    # Backward takes each product twice. Older transformers make the rotary angles by a product, too.
    assert 3 * forward <= row.figures["flops_per_step"] <= 3 * forward + 2 * 16 * 8


def test_evaluation_and_saving_are_measured_when_asked_for(measure, spec):
    row = measure(spec(method="lora", evaluation_batch_size=64, save=True))
    assert row.outcome is Outcome.OK
    assert row.figures["evaluation_peak_allocated_bytes"] == row.figures["peak_allocated_bytes"]
    assert row.figures["save_peak_allocated_bytes"] <= row.figures["evaluation_peak_allocated_bytes"]


def test_the_process_peak_holds_evaluation(measure, spec):
    plain = measure(spec(method="lora"))
    row = measure(spec(method="lora", sequence_length=128, evaluation_batch_size=256))
    grown = row.figures["peak_process_bytes"] - plain.figures["peak_process_bytes"]
    held = row.figures["evaluation_peak_allocated_bytes"] - plain.figures["peak_allocated_bytes"]
    assert held > 2**25
    assert grown > held / 2


def test_adalora_replaces_tensors_and_counts_none_twice(measure, spec):
    row = measure(spec(method="adalora", method_options={"total_step": 100}))
    lora = measure(spec(method="lora", method_options={"r": 12}))
    # Rank 12, as AdaLoRA begins with: A, B and their Adam states as in LoRA, and the importances beside.
    adapters = 4 * lora.figures["trainable_parameters"]
    assert row.figures["resident_bytes"] - lora.figures["resident_bytes"] < 6 * adapters


def test_varied_lengths_claim_no_flops(measure, spec):
    assert "flops_per_step" not in measure(spec(lengths=[8, 16])).figures


def test_the_peak_is_that_of_the_longest_step(measure, spec):
    lengths = measure(spec(method="lora", lengths=[16, 16, 16, 128]))
    longest = measure(spec(method="lora", sequence_length=128))
    assert lengths.figures["peak_allocated_bytes"] == pytest.approx(
        longest.figures["peak_allocated_bytes"], rel=0.01
    )


def test_events_tell_the_stages_in_order(measure, spec):
    events = []
    measure(spec(method="lora"), listener=events.append)
    names = [event["event"] for event in events]
    assert names[0] == "started"
    assert names[-2:] == ["result", "exited"]
    phases = [event["phase"] for event in events if event["event"] == "phase"]
    assert phases[:4] == [Phase.LOAD, Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER]
    assert {event["stage"] for event in events if event["event"] == "progress"} == {"warm-up", "timing"}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"method": "bitfit"}, "finds nothing to train"),
        ({"method": "prefix", "gradient_checkpointing": "full"}, "peft refuses prefix-tuning"),
        ({"loss_kernel": "liger"}, "needs a CUDA device"),
        ({"parallel": "fsdp2", "world_size": 2}, "cannot be measured yet"),
    ],
)
def test_what_is_not_possible_is_a_row_that_is_final(settings, says, measure, spec):
    row = measure(spec(**settings))
    assert (row.outcome, row.reason, row.phase) == (Outcome.FAILED, Reason.NOT_POSSIBLE, Phase.LOAD)
    assert says in row.message
    assert row.is_finished
    assert set(row.figures) == {"trial_seconds", "start_seconds"}
    assert row.step_seconds == ()


def test_running_out_of_memory_is_a_row_and_the_next_trial_goes_well(measure, spec):
    row = measure(spec(**LARGE), memory_limit_bytes=100_000_000)
    assert (row.outcome, row.reason, row.phase) == (Outcome.OOM, Reason.HOST_OOM, Phase.FORWARD)
    assert row.figures["oom_requested_bytes"] > 1_000_000
    assert not [name for name in row.figures if "peak" in name]
    assert row.is_finished
    assert measure(spec(method="lora")).outcome is Outcome.OK


def test_running_out_of_memory_while_loading(measure, spec, models):
    row = measure(spec("llama").with_changes(model="smollm2-135m"), memory_limit_bytes=50_000_000)
    assert (row.outcome, row.reason, row.phase) == (Outcome.OOM, Reason.HOST_OOM, Phase.LOAD)


def test_a_time_out_is_a_row_and_the_next_trial_goes_well(measure, spec):
    row = measure(spec(), **ENDLESS, timeout_seconds=3)
    assert (row.outcome, row.reason) == (Outcome.TIMEOUT, Reason.TIME_LIMIT)
    assert row.message == "not done after 3 s"
    assert row.is_finished
    assert measure(spec(method="lora")).outcome is Outcome.OK


def test_slow_steps_stop_being_timed(measure, spec):
    row = measure(spec(), timed_min_steps=1_000_000, timed_max_seconds=0.2)
    assert row.outcome is Outcome.OK
    assert 3 <= row.figures["steps_timed"] < 1_000_000


def test_warm_up_ends_when_times_have_settled(measure, spec):
    row = measure(spec(), warmup_stable_cv=1000.0, warmup_min_seconds=600, warmup_max_seconds=600)
    assert row.figures["warmup_steps"] == 10
    assert row.figures["warmup_stable"] is True
    row = measure(spec(), warmup_stable_cv=0, warmup_min_seconds=0.3, warmup_min_steps=3)
    assert row.figures["warmup_steps"] >= 3
    assert row.figures["warmup_stable"] is False

import json
import subprocess
import sys

import pytest

from planner.fit import FitAnswer, fit, fit_all
from planner.fit.gpu_choice import chosen_gpus
from profiler.catalog import find_gpu, gpus
from profiler.catalog.gpu_memory import gpu_memory
from profiler.errors import NotPossibleError, UsageError
from profiler.spec import TrialSpec
from tests.planner.fit.invented import InventedTracer
from tests.tiny_models import write_model

CONTRACT = [
    "schema_version", "spec", "gpu", "engine", "verdict", "fits_only_with_retries", "failed_at",
    "peak_allocated_bytes", "peak_reserved_bytes", "peak_process_bytes", "interval_process_bytes",
    "interval_level", "breakdown_bytes", "phase_peaks_bytes", "step_peaks_reserved_bytes",
    "largest_batch_size", "longest_sequence", "suggestions", "assumptions", "basis", "seconds",
]  # fmt: skip


def spec(**settings):
    return TrialSpec.parse({"model": "llama-3.2-1b", "method": "lora", **settings})


def test_the_json_is_the_contract():
    small, large = (fit(spec(batch_size=size), "t4", tracer=InventedTracer()).to_json() for size in (1, 64))
    for answer in (small, large):
        assert list(answer) == CONTRACT
        assert json.loads(json.dumps(answer, allow_nan=False)) == answer
        assert sum(answer["breakdown_bytes"].values()) == answer["peak_process_bytes"]
        assert list(answer["seconds"]) == ["imports", "trace", "replay"]
    assert small["failed_at"] is None
    assert list(large["failed_at"]) == ["phase", "module", "bytes"]
    assert list(large["suggestions"][0]) == ["change", "command", "spec", "peak_process_bytes", "fits"]
    assert TrialSpec.from_canonical(large["spec"]) == spec(batch_size=64)


def test_the_same_question_is_answered_from_the_cache():
    tracer = InventedTracer()
    first = fit(spec(), "t4", tracer=tracer)
    traces = len(tracer.traced)
    again = fit(spec(), "Tesla T4", tracer=tracer)
    assert len(tracer.traced) == traces
    assert (first.basis.cached, again.basis.cached) == (False, True)
    assert again.model_copy(update={"basis": first.basis}) == first


@pytest.mark.parametrize(
    "other",
    [
        lambda tracer: fit(spec(batch_size=2), "t4", tracer=tracer),
        lambda tracer: fit(spec(), "l4", tracer=tracer),
        lambda tracer: fit(spec(), "t4", tracer=tracer, suggest=False),
        lambda tracer: fit_all(spec(), [find_gpu("t4")], tracer=tracer),
    ],
)
def test_another_question_is_not(other):
    fit(spec(), "t4", tracer=InventedTracer())
    tracer = InventedTracer()
    other(tracer)
    assert tracer.traced


@pytest.mark.parametrize("damage", [lambda text: text[:-20], lambda text: "", lambda text: '{"verdict": 3}'])
def test_a_damaged_answer_is_found_anew(own_cache, damage):
    first = fit(spec(), "t4", tracer=InventedTracer())
    (file,) = own_cache.rglob("*.answer")
    file.write_text(damage(file.read_text()))
    again = fit(spec(), "t4", tracer=InventedTracer())
    assert not again.basis.cached
    assert again.peak_process_bytes == first.peak_process_bytes
    assert fit(spec(), "t4").basis.cached


def test_a_cache_that_cannot_be_written_is_no_error(own_cache):
    own_cache.write_text("a file, where a folder should be")
    assert fit(spec(), "t4", tracer=InventedTracer()).verdict == "fits"


def test_a_cached_answer_needs_no_torch(tmp_path):
    trial = TrialSpec.parse({"model": write_model(tmp_path, "llama"), "method": "lora"})
    fit(trial, "t4", tracer=InventedTracer())
    program = (
        "import sys\nfrom planner.cli.main import run\n"
        f"code = run(['fit', {trial.model!r}, '--method', 'lora', '--gpu', 't4', '--format', 'json'])\n"
        "heavy = {'torch', 'transformers', 'peft', 'pandas', 'sqlalchemy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["basis"]["cached"] is True


def test_many_micro_batches_are_traced_as_two():
    tracer = InventedTracer()
    answer = fit(spec(gradient_accumulation=64, allocator="expandable"), "t4", tracer=tracer)
    assert {traced.gradient_accumulation for traced in tracer.traced} == {2}
    assert answer.spec.gradient_accumulation == 64
    assert "every micro-batch after the second takes what the second takes" in answer.assumptions
    varying = InventedTracer()
    fit(spec(gradient_accumulation=4, lengths=[512, 64]), "t4", tracer=varying)
    assert {traced.gradient_accumulation for traced in varying.traced} == {4}


def test_varying_lengths_say_why_they_have_no_largest_size():
    answer = fit(spec(lengths=[512, 64]), "t4", tracer=InventedTracer())
    assert (answer.largest_batch_size, answer.longest_sequence) == (None, None)
    assert "lengths" in answer.basis.sizes_unknown_because


@pytest.mark.parametrize("parallel", ["ddp", "fsdp2"])
def test_several_ranks_are_refused_and_not_answered_as_one(parallel):
    trial = spec(parallel=parallel, world_size=8)
    with pytest.raises(NotPossibleError, match=f"parallel {parallel} cannot be predicted"):
        fit(trial, "t4")
    (answer,) = fit_all(trial, [find_gpu("t4")])
    assert isinstance(answer, NotPossibleError)


def test_gpus_with_equal_kernels_share_a_trace():
    tracer = InventedTracer()
    cards = [find_gpu(name) for name in ("a100-sxm-80gb", "l4", "a100-sxm-40gb", "mi300x")]
    big, small, same, amd = fit_all(spec(batch_size=64, sequence_length=1024), cards, tracer=tracer)
    assert [answer.verdict for answer in (big, small, same)] == ["fits", "does_not_fit", "does_not_fit"]
    assert isinstance(amd, NotPossibleError)
    assert len(tracer.traced) == 2
    assert all(answer.suggestions == () for answer in (big, small, same))
    assert [answer.gpu for answer in fit_all(spec(), cards[1::-1], tracer=tracer)] == ["l4", "a100-sxm-80gb"]


def test_a_trial_that_a_library_refuses_is_refused():
    with pytest.raises(NotPossibleError, match="there are 100 positions"):
        fit(spec(), "t4", tracer=InventedTracer(positions=100))


def test_stages_are_told():
    stages = []
    fit(spec(batch_size=64), "t4", tracer=InventedTracer(), on_stage=stages.append)
    assert len(stages) == 3


def test_a_gpu_that_is_not_known_is_named_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean"):
        fit(spec(), "l40ss", tracer=InventedTracer())


def test_all_gpus_are_those_with_cuda_by_memory():
    chosen = chosen_gpus(["all"])
    sizes = [gpu_memory(gpu).usable_bytes_range[1] for gpu in chosen]
    assert sizes == sorted(sizes)
    assert {gpu.vendor for gpu in chosen} == {"NVIDIA"}
    assert 10 < len(chosen) < len(gpus())


def test_gpus_are_taken_once_and_as_given():
    assert [gpu.id for gpu in chosen_gpus(["l4", "t4", "NVIDIA L4"])] == ["l4", "t4"]
    with pytest.raises(UsageError, match="not both"):
        chosen_gpus(["all", "t4"])


def test_an_answer_comes_back_from_its_json_and_no_other_does():
    answer = fit(spec(), "t4", tracer=InventedTracer())
    assert FitAnswer.model_validate_json(answer.model_dump_json()) == answer
    with pytest.raises(ValueError, match="Extra inputs"):
        FitAnswer.model_validate({**answer.model_dump(), "older_key": 1})

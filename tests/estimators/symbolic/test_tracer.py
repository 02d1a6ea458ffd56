"""Traces in processes of their own: refusals, deaths, the cache, and what is left of it all."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from estimators.ledger import Ledger
from estimators.ledger_file import read_ledger
from estimators.symbolic.tracer import Tracer, TraceRequest
from profiler.errors import NotPossibleError
from profiler.spec.frozen import canonical_json
from tests.estimators.ledgers import assert_same
from tests.estimators.traces import A100, L40S
from tests.processes import all_gone, descendants, is_gone, wait_until

ROOT = Path(__file__).parents[3]
# Loaded by the server when it starts: embeddings have no backward, and eager attention's kills its process.
BROKEN = """
import sys

if "estimators.symbolic.server" in sys.orig_argv:
    import os
    import signal
    from estimators.symbolic import internals

    def raises(*arguments, **settings):
        raise ValueError("no such gradient\\nand more of it")

    def dies(*arguments, **settings):
        print("about to die", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    internals._BUFFERS[internals._aten.embedding_dense_backward.default] = raises
    internals._BUFFERS[internals._aten._softmax_backward_data.default] = dies
"""
CACHED = """
import sys
from estimators.symbolic.tracer import Tracer
from estimators.target import Target
from profiler.spec import TrialSpec

target = Target(capability=(8, 0), sm_count=108)
with Tracer() as tracer:
    ledger = tracer.trace(TrialSpec.from_canonical(sys.argv[1]), target, steps=1)
    print(len(ledger.events), "torch" in sys.modules, tracer._process)
"""


def request(spec, *, target=A100, steps=1):
    return TraceRequest(spec=spec, target=target, steps=steps)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("SIZEUP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_each_request_has_its_answer_in_order(tracer, trial):
    good, refused = trial(method="head"), trial(method="freeze", method_options={"layers": 3})
    first, error, again, second = tracer.trace_all(
        [request(good), request(refused), request(good), request(trial("gpt2", method="head"))]
    )
    assert isinstance(error, NotPossibleError)
    assert str(error) == f"{refused.model} has 2 layers, fewer than freeze layers=3"
    assert_same(again, first)
    assert "lm_head" in first.modules
    assert "transformer" in second.modules
    assert tracer.trace_all([]) == []


def test_one_request_raises_its_refusal(tracer, trial):
    with pytest.raises(NotPossibleError, match="fewer than freeze layers=3"):
        tracer.trace(trial(method="freeze", method_options={"layers": 3}), A100)


def test_gpus_that_differ_in_multiprocessors_share_a_ledger_unless_it_depends_on_them(tracer, trial, cache):
    other = dataclasses.replace(A100, sm_count=50)
    masked, unmasked = trial(method="head"), trial(method="head", padding_mask=False)
    first, second = tracer.trace_all([request(masked), request(masked, target=other)])
    assert second is first  # the efficient kernel does not ask for them
    first, second = tracer.trace_all([request(unmasked), request(unmasked, target=other)])
    assert second is not first  # flash splits by them
    assert second.facts["attention_kernels"] == ["flash"]


def test_a_ledger_in_the_cache_needs_neither_torch_nor_a_process(tracer, trial, cache):
    spec = trial(method="head")
    ledger = tracer.trace(spec, A100, steps=1)
    done = subprocess.run(
        [sys.executable, "-c", CACHED, canonical_json(spec.canonical)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == [str(len(ledger.events)), "False", "None"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "another"])
def test_a_damaged_file_is_traced_again(tracer, trial, cache, damage):
    asked = request(trial(method="head"))
    (ledger,) = tracer.trace_all([asked])
    whole = asked.paths[0].read_bytes()
    damaged = {"truncated": whole[: len(whole) // 2], "empty": b"", "another": b"text"}
    asked.paths[0].write_bytes(damaged[damage])
    (again,) = tracer.trace_all([asked])
    assert again.events.tolist() == ledger.events.tolist()
    assert read_ledger(asked.paths[0]) is not None
    assert list(asked.paths[0].parent.iterdir()) == [asked.paths[0]]


def test_a_cache_that_cannot_be_written_is_done_without(tracer, trial, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("SIZEUP_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    ledger = tracer.trace(trial(method="head"), A100, steps=1)
    assert ledger.facts["trainable_parameters"] == 256 * 64
    assert list(temporary.iterdir()) == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "temporary"]


def test_the_gpu_and_the_steps_are_parts_of_the_question(trial, cache):
    spec = trial(method="head")
    asked = [request(spec, target=target, steps=steps) for target in (A100, L40S) for steps in (1, 2, 3)]
    assert len({one.paths[0] for one in asked}) == 6
    assert TraceRequest(spec=spec, target=A100).paths == request(spec, steps=3).paths


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A tracer whose server has a broken engine."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "sitecustomize.py").write_text(BROKEN)
    with pytest.MonkeyPatch.context() as patch, Tracer() as made:
        patch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        made._started()
        yield made


def test_an_error_in_backward_is_its_first_line_and_ends_its_trace_alone(broken, trial, cache):
    bad, good = trial(method="full"), trial(method="head")
    error, ledger = broken.trace_all([request(bad), request(good)])
    assert isinstance(error, NotPossibleError)
    assert str(error) == "ValueError: no such gradient"
    assert isinstance(ledger, Ledger)


def test_a_death_is_not_the_answer_to_what_is_asked_next(broken, trial, cache):
    # The process aborts as the error leaves backward, after it has said why.
    (error,) = broken.trace_all([request(trial(method="full", precision="fp32"))])
    assert str(error) == "ValueError: no such gradient"
    (ledger,) = broken.trace_all([request(trial(method="head", precision="fp32"))])
    assert isinstance(ledger, Ledger), ledger


def test_a_process_that_dies_is_one_sentence_and_ends_its_trace_alone(broken, trial, cache):
    bad, good = trial(method="full", attention="eager"), trial(method="head")
    error, ledger = broken.trace_all([request(bad), request(good)])
    assert isinstance(error, NotPossibleError)
    assert str(error).startswith(f"the process of the trace ended with code {-signal.SIGKILL}: ")
    assert "about to die" in str(error)
    assert "\n" not in str(error)
    assert isinstance(ledger, Ledger)


def test_a_killed_server_is_said_and_replaced_and_a_closed_one_is_gone(trial, cache):
    before = set(descendants())
    long, short = request(trial(method="full"), steps=500), request(trial(method="head"))
    with Tracer(jobs=1) as tracer:
        answers = []
        thread = threading.Thread(target=lambda: answers.extend(tracer.trace_all([long, short])))
        thread.start()
        found = {}

        def is_tracing():
            found["servers"] = [one for one in psutil.Process().children() if one.pid not in before]
            return any(server.children() for server in found["servers"])

        assert wait_until(is_tracing)
        (server,) = found["servers"]
        tracing = [child.pid for child in server.children()]
        server.kill()
        thread.join(timeout=60)
        assert len(answers) == 2
        for error in answers:
            assert isinstance(error, NotPossibleError)
            assert str(error).startswith("the process of the trace ended with code ")
            assert "\n" not in str(error)
        assert all_gone([server.pid, *tracing])
        (ledger,) = tracer.trace_all([short])
        assert isinstance(ledger, Ledger)
        started = set(descendants()) - before
        assert started
    assert all(is_gone(process_id) for process_id in started)
    assert set(descendants()) <= before
    tracer.close()  # a second time

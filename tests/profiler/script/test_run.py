"""Scripts on a virtual GPU, from the start to the report."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import psutil
import pytest

from profiler.devices.virtual import VirtualDevice
from profiler.script import ScriptRequest, run_script, script_command
from profiler.script.record import Ending
from tests.processes import wait_until
from tests.profiler.devices.virtual.conftest import compiled as compiled
from tests.profiler.script.test_bootstrap import state

ROOT = Path(__file__).parents[3]
MIB = 2**20

LOOP = """
import torch
model = torch.nn.Sequential(*[torch.nn.Linear(1024, 1024) for _ in range(4)]).cuda()
optimizer = torch.optim.AdamW(model.parameters())
for step in range(100):
    for part in range(2):
        loss = model(torch.randn(64, 1024, device="cuda")).square().mean()
        loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    torch.cuda.reset_peak_memory_stats()
    print("step", step, flush=True)
    if step == 1:
        torch.save(model.state_dict(), "model.pt")
        print(sum(tensor.numel() for tensor in torch.load("model.pt").values()), flush=True)
"""

OUT_OF_MEMORY = """
import torch
kept = []
def grow(weight):
    return weight @ weight
weight = torch.randn(4096, 4096, device="cuda")
while True:
    kept.append(grow(weight))
"""


@pytest.fixture
def on_t4(compiled, tmp_path):
    """Run code as a script on a small virtual GPU: `on_t4(code)`; settings are those of the request."""

    def run(code, *, memory_mib=1024, **settings):
        folder = tmp_path / "user"
        folder.mkdir(exist_ok=True)
        (folder / "train.py").write_text(textwrap.dedent(code))
        with pytest.MonkeyPatch.context() as patch, (tmp_path / "stdout").open("w+") as output:
            patch.chdir(folder)
            device = VirtualDevice("t4", memory_bytes=memory_mib * MIB, context_bytes=64 * MIB)
            command = script_command([sys.executable, "train.py"], environment={})
            request = ScriptRequest(command=command, device=device, **settings)
            found = run_script(request, output=output)
            output.seek(0)
            return found, output.read(), folder

    return run


def test_a_plain_loop(on_t4, tmp_path):
    snapshot = tmp_path / "peak.pickle"
    run, said, folder = on_t4(LOOP, snapshot=snapshot)
    assert (run.ending, run.stop_reason, run.exit_code) == (Ending.STOPPED, "stable", 0)
    assert said.splitlines()[-1] == f"step {run.steps - 1}"
    assert str(4 * (1024 + 1) * 1024) in said  # what was saved can be read again
    assert os.listdir(folder) == ["train.py"]
    phases = {(peak.step, peak.phase) for peak in run.timeline}
    assert {(0, "load"), (0, "forward"), (0, "backward"), (0, "optimizer"), (1, "save")} <= phases
    weights = 4 * (1024 + 1) * 1024 * 4
    held = {holder.category: holder.size_bytes for holder in run.holders.by_category}
    assert held["parameters"] == held["gradients"] == weights
    # AdamW keeps two moments of each weight, and counts its steps on the host or in eight small tensors.
    assert 2 * weights <= held["optimizer"] < 2 * weights + MIB
    assert run.holders.size_bytes <= run.peak_allocated_bytes <= run.holders.size_bytes + MIB
    by_line = {(holder.line, holder.category) for holder in run.holders.by_line}
    assert {("train.py:3", "parameters"), ("train.py:9", "optimizer")} <= by_line
    assert run.peak_reserved_bytes >= run.peak_allocated_bytes
    assert snapshot.stat().st_size > 0
    viewed = subprocess.run(
        [sys.executable, "-m", "torch.cuda._memory_viz", "trace_plot", snapshot,
         "-o", tmp_path / "peak.html"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert viewed.returncode == 0, viewed.stderr


def test_out_of_memory_names_the_users_line(on_t4):
    run, _, _ = on_t4(OUT_OF_MEMORY)
    assert (run.ending, run.exit_code) == (Ending.OOM, 1)
    found = run.out_of_memory
    assert (found.line, found.stack) == ("train.py:5 in grow", ("train.py:5 in grow", "train.py:8"))
    assert found.oom_requested_bytes == 4096 * 4096 * 4
    assert found.oom_allocated_bytes <= found.oom_reserved_bytes <= (1024 - 64) * MIB
    assert run.holders.by_line[0].line == "train.py:5 in grow"


CLOSURE = """
import torch
model = torch.nn.Linear(2048, 2048).cuda()
optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
def closure():
    optimizer.zero_grad()
    loss = model(torch.randn(4, 2048, device="cuda")).square().mean()
    loss.backward()
    return loss
for step in range(100):
    optimizer.step(closure)
"""


@pytest.mark.slow
def test_with_a_closure_the_update_is_still_the_optimizers(on_t4):
    run, _, _ = on_t4(CLOSURE, steps=3)
    assert (run.steps, run.stop_reason) == (3, "steps")
    peaks = {peak.phase: peak.peak_allocated_bytes for peak in run.timeline if peak.step == 0}
    weights = 2048 * 2048 * 4
    assert peaks["backward"] < 4 * weights <= peaks["optimizer"]
    held = {holder.category: holder.size_bytes for holder in run.holders.by_category}
    assert held["gradients"] == weights + 2048 * 4


SLEEPS = (
    LOOP
    + """
    if step == 2:
        import subprocess, sys, time
        words = [sys.executable, "-c", "import time; time.sleep(600)"]
        other = subprocess.Popen(words, start_new_session=True)
        print("process", other.pid, flush=True)
        time.sleep(600)
"""
)


def temporary_folders():
    return set(Path(tempfile.gettempdir()).glob("sizeup-run-*"))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, "time"])
def test_a_script_that_is_ended_leaves_a_report_and_nothing_else(compiled, tmp_path, how):
    (tmp_path / "train.py").write_text(SLEEPS)
    limit = ["--time-limit", "30"] if how == "time" else []
    folders = temporary_folders()
    # Who was started in the background has SIGINT ignored, and so have those that it starts.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = f"{heard}; from planner.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "run", "--gpu", "t4", "--steps", "50", *limit, "--format", "json",
         "--", sys.executable, "train.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    other = None
    for line in process.stderr:
        if line.startswith("process "):
            other = int(line.split()[1])
            break
    assert other is not None
    if how != "time":
        process.send_signal(how)
    out, _ = process.communicate()
    answer = json.loads(out)
    assert process.returncode == (0 if how == "time" else 130)
    assert (answer["steps"], answer["ending"]) == (3, "stopped" if how == "time" else "interrupted")
    assert answer["peak_reserved_bytes"] > 0
    assert wait_until(lambda: not psutil.pid_exists(other))
    assert temporary_folders() <= folders
    assert os.listdir(tmp_path) == ["train.py"]


TRAINER = """
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Trainer, TrainingArguments
config = LlamaConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=4, vocab_size=512)
model = AutoModelForCausalLM.from_config(config)
data = [{"input_ids": torch.arange(32), "labels": torch.arange(32)} for _ in range(400)]
arguments = TrainingArguments("out", per_device_train_batch_size=2, max_steps=100, save_steps=2,
                              save_total_limit=1, eval_strategy="steps", eval_steps=60, report_to="none")
trainer = Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=data)
trainer.train()
trainer.save_model()
model.save_pretrained("out")
print("parameters", AutoModelForCausalLM.from_pretrained("out").num_parameters())
print("steps", trainer.state.global_step)
"""


@pytest.mark.slow
def test_a_trainer_leaves_a_real_checkpoint_as_it_was(on_t4, tmp_path):
    folder = tmp_path / "user"
    for name in (
        "out/model.safetensors",
        "out/checkpoint-1/model.safetensors",
        "out/checkpoint-2/optimizer.pt",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"weights of last week" * 1000)
    (folder / "train.py").write_text(TRAINER)
    before = state(folder)
    run, said, _ = on_t4(TRAINER)
    script = str(folder / "train.py")
    assert {path: facts for path, facts in state(folder).items() if path != script} == {
        path: facts for path, facts in before.items() if path != script
    }
    assert (run.ending, run.trainer) == (Ending.ENDED, "transformers.Trainer")
    assert f"steps {run.steps}" in said
    assert run.steps < 30
    assert "parameters" in said
    phases = {peak.phase for peak in run.timeline}
    assert {"evaluation", "save"} <= phases
    assert "model.safetensors" in run.counts["saves"]


class _Sampled:
    def __init__(self, process_used_bytes):
        self.process_used_bytes = process_used_bytes


class _Sampler:
    def stop(self):
        return [_Sampled(None), _Sampled(700 * MIB), _Sampled(600 * MIB)]


class RealLooking(VirtualDevice):
    """Stands for a card that is there, as far as the supervisor can see."""

    origin = "measured"

    def sampler(self, process_id):
        return _Sampler()


@pytest.mark.slow
def test_a_real_card_is_sampled_and_nothing_is_made_up(compiled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("import torch\nkept = torch.zeros(2**20, device='cuda')\n")
    request = ScriptRequest(
        command=script_command([sys.executable, "train.py"], environment={}), device=RealLooking("t4")
    )
    run = run_script(request)
    assert (run.ending, run.steps, run.peak_process_bytes) == (Ending.ENDED, 0, 700 * MIB)
    assert run.peak_allocated_bytes == 4 * MIB
    assert not any("virtual" in note for note in run.notes)
    with pytest.raises(ValueError, match="is one GPU"):
        ScriptRequest(command=request.command, device=request.device, world_size=2)


IN_FUNCTIONS = """
import torch
model = torch.nn.Sequential(*[torch.nn.Linear(1024, 1024) for _ in range(4)]).cuda()
optimizer = torch.optim.AdamW(model.parameters())
def step():
    loss = model(torch.randn(64, 1024, device="cuda")).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
for number in range(4):
    step()
    if number == 1:
        torch.cuda.reset_peak_memory_stats()
    print(torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved())
"""


def test_watching_changes_no_byte(compiled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(IN_FUNCTIONS)
    device = RealLooking("t4")
    alone = subprocess.run(
        [sys.executable, "train.py"], env={**os.environ, **device.child_environment(None)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    with (tmp_path / "stdout").open("w+") as output:
        command = script_command([sys.executable, "train.py"], environment={})
        run_script(ScriptRequest(command=command, device=device, steps=10), output=output)
        output.seek(0)
        assert output.read() == alone.stdout

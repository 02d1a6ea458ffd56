"""A script runs as Python would run it, and its files stay as they are; no GPU and no torch is needed."""

import os
import textwrap
from pathlib import Path

import pytest


def write(path, code):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(code))
    return path


def end_of(events):
    return next(event for event in events if event["event"] == "end")


def counts_of(events, what):
    return {event["of"] for event in events if event["event"] == "count" and event["what"] == what}


def test_a_script_sees_what_python_would_show_it(run_alone, tmp_path):
    write(tmp_path / "user" / "helper.py", "NAME = __name__")
    write(
        tmp_path / "user" / "train.py",
        """
        import os, sys, helper
        assert __name__ == "__main__" and sys.modules["__main__"].__dict__ is globals()
        assert __file__ == "user/train.py" and sys.argv == ["user/train.py", "--lr", "1e-4"]
        assert sys.path[0] == os.path.abspath("user") and __package__ is None and __spec__ is None
        print("all seen", helper.NAME)
        """,
    )
    done, events = run_alone("user/train.py", "--lr", "1e-4", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "all seen helper\n", "")
    assert end_of(events)["outcome"] == "ended"


def test_a_module_is_run_as_python_m_does(run_alone, tmp_path):
    write(tmp_path / "pack" / "__init__.py", "")
    write(tmp_path / "pack" / "other.py", "WORD = 'relative'")
    write(
        tmp_path / "pack" / "train.py",
        """
        import os, sys
        from .other import WORD
        assert __name__ == "__main__" and __package__ == "pack" and sys.path[0] == os.getcwd()
        print(WORD, os.path.basename(sys.argv[0]), sys.argv[1:])
        """,
    )
    done, _ = run_alone("pack.train", "x", kind="module", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "relative train.py ['x']\n")


@pytest.mark.parametrize("name", ["profiler", "estimators", "planner", "session", "events", "files"])
def test_modules_of_the_users_are_not_mistaken_for_ours(run_alone, tmp_path, name):
    write(tmp_path / "user" / f"{name}.py", f"WHOSE = 'the user {name}'")
    script = write(tmp_path / "user" / "train.py", f"import {name}\nprint({name}.WHOSE, {name}.__name__)\n")
    done, _ = run_alone(script)
    assert (done.returncode, done.stdout) == (0, f"the user {name} {name}\n")


def test_an_error_is_printed_as_the_script_would(run_alone, tmp_path):
    script = write(tmp_path / "user" / "train.py", "def f():\n    raise ValueError('mine')\nf()\n")
    done, events = run_alone(script)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert "sizeup" not in done.stderr.lower()
    assert "bootstrap" not in done.stderr
    assert done.stderr.endswith("ValueError: mine\n")
    ending = end_of(events)
    assert (ending["outcome"], ending["message"]) == ("error", "ValueError: mine")
    assert ending["line"].endswith("train.py:2 in f")


@pytest.mark.parametrize(
    ("code", "expected", "message"),
    [("0", 0, None), ("None", 0, None), ("7", 7, "it exited with code 7"), ("'words'", 1, "words")],
)
def test_the_exit_code_is_the_scripts(run_alone, tmp_path, code, expected, message):
    script = write(tmp_path / "user" / "train.py", f"import sys\nsys.exit({code})\n")
    done, events = run_alone(script)
    assert done.returncode == expected
    assert done.stderr == ("words\n" if code == "'words'" else "")
    ending = end_of(events)
    assert (ending["outcome"], ending.get("message")) == ("error" if expected else "ended", message)


def test_torch_compile_does_not_warn_of_hooks_of_ours(run_alone, tmp_path):
    code = """
    import torch
    model = torch.compile(torch.nn.Linear(2, 2), backend="eager")
    print(model(torch.ones(2)).shape)
    """
    done, _ = run_alone(write(tmp_path / "user" / "train.py", code))
    assert (done.stdout, done.stderr) == ("torch.Size([2])\n", "")


def state(folder):
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(root, name)
            about = os.lstat(path)
            data = Path(path).read_bytes() if name in files and not os.path.islink(path) else None
            found[path] = (about.st_mtime_ns, about.st_mode, about.st_size, data)
    return found


@pytest.fixture
def project(tmp_path):
    """A user's folder with a checkpoint in it."""
    folder = tmp_path / "user"
    write(folder / "out" / "checkpoint-1" / "model.safetensors", "weights of last week")
    write(folder / "log.txt", "first\n")
    (folder / "latest").symlink_to("out/checkpoint-1")
    return folder


WRITES = """
import glob, os, pathlib, shutil, sqlite3, tempfile
open("log.txt", "a").write("second\\n")
assert open("log.txt").read() == "first\\nsecond\\n"
open("latest/model.safetensors", "w").write("nothing")
assert pathlib.Path("out/checkpoint-1/model.safetensors").read_text() == "nothing"
os.makedirs("out/checkpoint-2/deep", exist_ok=True)
pathlib.Path("out/checkpoint-2/deep/state.json").write_text("{}")
assert sorted(os.listdir("out")) == ["checkpoint-1", "checkpoint-2"]
assert sorted(entry.name for entry in os.scandir("out") if entry.is_dir()) == ["checkpoint-1", "checkpoint-2"]
assert glob.glob("out/*/deep/*.json") == ["out/checkpoint-2/deep/state.json"]
shutil.rmtree("out/checkpoint-1")
assert not os.path.exists("out/checkpoint-1")
os.rename("out/checkpoint-2", "out/checkpoint-3")
assert os.path.isfile("out/checkpoint-3/deep/state.json")
shutil.copy("log.txt", "copy.txt")
shutil.move("log.txt", "moved.txt")
assert not os.path.exists("log.txt") and open("moved.txt").read() == "first\\nsecond\\n"
with tempfile.NamedTemporaryFile("w", delete=False) as file:
    file.write("temporary")
os.replace(file.name, "placed.txt")
assert open("placed.txt").read() == "temporary"
os.chmod("moved.txt", 0o600)
os.symlink("moved.txt", "pointer")
assert open("pointer").read() == "first\\nsecond\\n"
database = sqlite3.connect("runs.db")
database.execute("create table t (x)")
database.commit()
descriptor = os.open("raw.bin", os.O_WRONLY | os.O_CREAT)
os.write(descriptor, b"raw")
os.close(descriptor)
assert os.stat("raw.bin").st_size == 3
try:
    open("raw.bin", "x")
except FileExistsError as error:
    assert error.filename == "raw.bin"
try:
    open("missing/file", "w")
except FileNotFoundError as error:
    assert error.filename == "missing/file", error
print("done")
"""


def test_no_file_of_the_users_changes_and_the_script_sees_its_own(run_alone, project):
    script = write(project / "train.py", WRITES)
    before = state(project)
    done, events = run_alone(script, cwd=project)
    assert (done.stdout, done.stderr) == ("done\n", "")
    assert state(project) == before
    assert str(project / "out") in counts_of(events, "redirected")


def test_what_slips_through_is_refused(run_alone, project):
    script = write(
        project / "train.py",
        """
        import posix, _io
        for act in (
            lambda: posix.open("log.txt", posix.O_WRONLY | posix.O_TRUNC),
            lambda: posix.unlink("log.txt"),
            lambda: posix.rename("log.txt", "other.txt"),
            lambda: _io.FileIO("log.txt", "w"),
        ):
            try:
                act()
            except PermissionError as error:
                print(error.strerror)
        """,
    )
    before = state(project)
    done, events = run_alone(script, cwd=project)
    sentence = "sizeup run does not let a script change files, and cannot redirect this\n"
    assert done.stdout == sentence * 4
    assert state(project) == before
    assert counts_of(events, "refused") == {str(project / "log.txt")}


def test_other_programs_do_not_change_files_or_it_is_said(run_alone, project):
    script = write(
        project / "train.py", "import subprocess\nsubprocess.run(['sh', '-c', 'echo x > log.txt'])\n"
    )
    _, events = run_alone(script, cwd=project)
    is_kept = (project / "log.txt").read_text() == "first\n"
    notes = [event["sentence"] for event in events if event["event"] == "note"]
    assert is_kept or any("Landlock" in note for note in notes)


def test_nothing_is_pushed_to_the_hub(run_alone, project):
    script = write(
        project / "train.py",
        """
        from huggingface_hub import HfApi, create_repo, upload_folder
        print(create_repo("me/model", private=True).repo_id)
        print(upload_folder(repo_id="me/model", folder_path=".").oid)
        print(HfApi().upload_file(
            repo_id="me/model", path_or_fileobj=b"", path_in_repo="x", run_as_future=True
        ).result().oid)
        """,
    )
    done, events = run_alone(script, cwd=project)
    assert done.stdout.splitlines() == ["me/model", "0" * 40, "0" * 40], done.stderr
    assert counts_of(events, "uploads") == {
        "create_repo me/model", "upload_folder me/model", "upload_file me/model",
    }  # fmt: skip

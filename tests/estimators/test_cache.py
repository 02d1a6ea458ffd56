"""The cache: what a file's name follows from, who may write and delete, and where it is."""

import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from estimators import cache
from estimators.cache import cache_use, cached_path, clear_cache
from estimators.ledger_file import read_ledger, write_ledger
from profiler.cache_folder import cache_folder
from tests.estimators.ledgers import assert_same, small_ledger

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from pathlib import Path
from estimators.ledger_file import write_ledger
from tests.estimators.ledgers import small_ledger
print("ready", flush=True)
sys.stdin.readline()
for _ in range(30):
    write_ledger(small_ledger(facts={"writer": int(sys.argv[2])}), Path(sys.argv[1]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SIZEUP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def forget():
    """Call this to make the module look at versions and source again."""

    def call():
        cache._versions.cache_clear()
        cache._source.cache_clear()

    yield call
    call()


def test_the_user_says_where_it_is(folder, tmp_path, monkeypatch):
    assert cache_folder() == folder
    monkeypatch.setenv("SIZEUP_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / "sizeup"


def test_a_file_has_the_name_of_its_kind_in_its_folder(folder):
    path = cached_path("ledger", {"a": 1})
    assert (path.parent, path.suffix) == (folder / "ledger", ".ledger")


def test_the_same_content_has_the_same_name(folder):
    content = {"spec": {"b": 2, "a": [1, None]}, "steps": 3}
    assert cached_path("ledger", content) == cached_path(
        "ledger", {"steps": 3, "spec": {"a": [1, None], "b": 2}}
    )


@pytest.mark.parametrize("other", [{"steps": 2}, {"steps": "3"}, {"steps": 3, "x": None}, {}])
def test_other_content_has_another_name(folder, other):
    assert cached_path("ledger", other) != cached_path("ledger", {"steps": 3})


@pytest.mark.parametrize("package", ["torch", "transformers", "peft", "bitsandbytes"])
def test_another_version_of_a_library_gives_another_name(folder, forget, monkeypatch, package):
    def version_without(name):
        if name == package:
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    before, installed = cached_path("ledger", {}), metadata.version
    names = {before}
    for fake in (lambda name: "0.0" if name == package else installed(name), version_without):
        monkeypatch.setattr(metadata, "version", fake)
        forget()
        names.add(cached_path("ledger", {}))
    assert len(names) == 3


@pytest.mark.parametrize(
    ("kind", "file", "follows"),
    [("ledger", "ledger.py", True), ("ledger", "memory.py", False), ("answer", "memory.py", True)],
)
def test_another_source_gives_another_name(kind, file, follows, folder, forget, monkeypatch, tmp_path):
    source = tmp_path / "tree" / "estimators" / file
    source.parent.mkdir(parents=True)
    monkeypatch.setattr(cache, "__file__", str(source.with_name("cache.py")))
    names = []
    for text in ("one", "two", "one"):
        source.write_text(text)
        (source.parent / "README.md").write_text(text + " is no source")
        forget()
        names.append(cached_path(kind, {}))
    assert names[0] == names[2]
    assert (names[0] != names[1]) == follows


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_that_is_not_whole_is_no_ledger_and_is_replaced(folder, share):
    path = cached_path("ledger", {})
    write_ledger(small_ledger(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert read_ledger(path) is None
    write_ledger(small_ledger(), path)
    assert_same(read_ledger(path), small_ledger())


def test_writers_at_once_leave_one_whole_ledger_at_any_moment(folder):
    path = cached_path("ledger", {})
    write_ledger(small_ledger(facts={"writer": 0}), path)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        for number in (1, 2)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    while any(writer.poll() is None for writer in writers):
        found = read_ledger(path)
        assert_same(found, small_ledger(facts=found.facts))
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert read_ledger(path).facts["writer"] in (1, 2)
    assert list(path.parent.iterdir()) == [path]


def test_a_cache_that_is_not_there_holds_nothing_and_is_not_made(folder):
    for look in (cache_use, clear_cache):
        use = look()
        assert (use.folder, use.files, use.bytes) == (folder, 0, 0)
    assert not folder.exists()


def test_clear_deletes_what_the_cache_holds_and_nothing_else(folder):
    write_ledger(small_ledger(), cached_path("ledger", {}))
    cached_path("answer", {}).parent.mkdir()
    cached_path("answer", {}).write_text("{}")
    others = [folder / "ledger" / "notes.txt", folder / "notes.ledger", folder / "locks" / "cpu.lock"]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.write_text("mine")
    (folder / "ledger" / "folder.ledger").mkdir()
    size = cached_path("ledger", {}).stat().st_size + 2
    assert (cache_use().files, cache_use().bytes) == (2, size)
    held = clear_cache()
    assert (held.files, held.bytes) == (2, size)
    assert (cache_use().files, cache_use().bytes) == (0, 0)
    assert all(other.read_text() == "mine" for other in others)
    assert (folder / "ledger" / "folder.ledger").is_dir()


def test_clear_leaves_a_file_that_somebody_is_writing_but_not_one_that_was_abandoned(folder):
    writing, abandoned = folder / "ledger" / "new.part", folder / "ledger" / "old.part"
    for part in (writing, abandoned):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"half")
    day_ago = time.time() - 86_400
    os.utime(abandoned, (day_ago, day_ago))
    assert clear_cache().files == 1
    assert (writing.exists(), abandoned.exists()) == (True, False)


def test_virtual_gpus_that_were_compiled_are_counted_and_cleared_but_not_those_being_made(folder):
    made, making, abandoned = (
        folder / "virtual-gpu" / name for name in ("torch-1", ".making-a", ".making-b")
    )
    for build in (made, making, abandoned):
        build.mkdir(parents=True)
        (build / "libvirtualgpu.so").write_bytes(b"code")
    day_ago = time.time() - 86_400
    os.utime(abandoned, (day_ago, day_ago))
    assert (cache_use().files, cache_use().bytes) == (2, 8)
    assert clear_cache().files == 2
    assert list((folder / "virtual-gpu").iterdir()) == [making]

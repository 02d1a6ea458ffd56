"""The overlay behaves as a folder does, and the folder below it never changes."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.script.inject.overlay import Overlay

NAMES = st.sampled_from(["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.sampled_from(["x", "yy"])),
        st.tuples(st.just("append"), NAMES, st.sampled_from(["x", "yy"])),
        st.tuples(st.sampled_from(["remove", "mkdir", "rmdir"]), NAMES, st.none()),
        st.tuples(st.just("move"), st.sampled_from(["a", "b", "d/a", "d/b"]), NAMES),
    ),
    max_size=10,
)


def plainly(root, step, name, more):
    path = os.path.join(root, name)
    match step:
        case "write" | "append":
            with open(path, "w" if step == "write" else "a") as file:
                file.write(more)
        case "remove":
            os.unlink(path)
        case "mkdir":
            os.mkdir(path)
        case "rmdir":
            os.rmdir(path)
        case "move":
            os.replace(path, os.path.join(root, more))


def overlaid(overlay, root, step, name, more):
    path = os.path.join(root, name)
    match step:
        case "write" | "append":
            with open(overlay.writable(path, keep=step == "append"), "w" if step == "write" else "a") as file:
                file.write(more)
        case "remove":
            overlay.remove(path)
        case "mkdir":
            overlay.make_folder(path)
        case "rmdir":
            overlay.remove_folder(path)
        case "move":
            overlay.move(path, os.path.join(root, more))


def view(root, names, is_folder, where):
    found = {}
    for name in names(root):
        path = os.path.join(root, name)
        if is_folder(path):
            found[name] = view(path, names, is_folder, where)
        else:
            found[name] = Path(where(path)).read_text()
    return found


def plain_view(root):
    return view(root, os.listdir, os.path.isdir, lambda path: path)


def outcome(act, *arguments):
    try:
        act(*arguments)
    except OSError as error:
        return type(error)
    return None


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_it_behaves_as_a_folder_does(steps):
    with tempfile.TemporaryDirectory() as place:
        roots = [os.path.join(os.path.realpath(place), name) for name in ("twin", "lower")]
        for root in roots:
            os.makedirs(os.path.join(root, "d"))
            for name in ("a", "d/a"):
                Path(root, name).write_text(f"old {name}")
        os.mkdir(os.path.join(place, "run"))
        overlay = Overlay(os.path.join(place, "run"))
        before = plain_view(roots[1])
        for step in steps:
            # Folders are renamed by their files, so that errors differ where both are folders.
            expected, got = outcome(plainly, roots[0], *step), outcome(overlaid, overlay, roots[1], *step)
            assert (expected is None) == (got is None), (step, expected, got)
        assert view(roots[1], overlay.names, overlay.is_folder, overlay.seen) == plain_view(roots[0])
        assert plain_view(roots[1]) == before


def test_what_was_moved_is_not_written_through(tmp_path):
    (tmp_path / "run").mkdir()
    old = tmp_path / "old"
    old.write_text("mine")
    overlay = Overlay(str(tmp_path / "run"))
    overlay.move(str(old), str(tmp_path / "new"))
    for keep, text in ((True, "mine and more"), (False, "other")):
        with open(overlay.writable(str(tmp_path / "new"), keep=keep), "a" if keep else "w") as file:
            file.write(" and more" if keep else "other")
        assert Path(overlay.seen(str(tmp_path / "new"))).read_text() == text
    assert old.read_text() == "mine"
    assert not overlay.exists(str(old))


def test_links_are_followed_to_what_they_name(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    overlay = Overlay(str(tmp_path / "run"))
    assert overlay.resolve(str(tmp_path / "link" / "file"), follow=False) == str(tmp_path / "real" / "file")
    assert overlay.resolve(str(tmp_path / "link"), follow=False) == str(tmp_path / "link")
    assert overlay.resolve(str(tmp_path / "link"), follow=True) == str(tmp_path / "real")


@pytest.mark.parametrize(
    ("path", "expected"), [("run/x", False), ("runs", True), ("/dev/null", False), ("/home/x", True)]
)
def test_devices_and_the_runs_own_folder_are_not_the_users(tmp_path, path, expected):
    (tmp_path / "run").mkdir()
    assert Overlay(str(tmp_path / "run")).is_protected(os.path.join(str(tmp_path), path)) is expected

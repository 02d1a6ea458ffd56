"""A ledger's file gives back what was written, and nothing of what was not."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.ledger import Mark
from estimators.ledger_file import read_ledger, write_ledger
from profiler.measurement import Phase
from tests.estimators.ledgers import assert_same, small_ledger, small_operators

ROOT = Path(__file__).parents[2]


def arrays(low, high, dtype):
    return st.lists(st.integers(low, high), max_size=20).map(lambda values: np.array(values, dtype=dtype))


ledgers = st.builds(
    small_ledger,
    events=arrays(-(2**31), 2**31 - 1, np.int32),
    sizes=arrays(0, 2**62, np.int64),
    owners=arrays(0, 255, np.uint8),
    tensor_modules=arrays(0, 2**31 - 1, np.int32),
    modules=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5).map(tuple),
    marks=st.lists(
        st.builds(Mark, event=st.integers(0, 2**31), phase=st.sampled_from(Phase), step=st.integers(0, 9))
    ).map(tuple),
    operators=st.sampled_from([None, small_operators()]),
    facts=st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.booleans())),
)


@given(ledger=ledgers)
@settings(max_examples=50, deadline=None)
def test_a_ledger_is_read_as_it_was_written(tmp_path_factory, ledger):
    path = tmp_path_factory.mktemp("ledgers") / "folder" / "one.ledger"
    write_ledger(ledger, path)
    assert_same(read_ledger(path), ledger)
    assert list(path.parent.iterdir()) == [path]


def test_there_is_no_ledger_where_there_is_no_file(tmp_path):
    assert read_ledger(tmp_path / "none.ledger") is None


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x80\x04."])
def test_another_file_is_no_ledger(tmp_path, content):
    path = tmp_path / "other.ledger"
    path.write_bytes(content)
    assert read_ledger(path) is None


def test_an_archive_of_something_else_is_no_ledger(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, text=np.frombuffer(b'{"modules": []}', dtype=np.uint8))
    assert read_ledger(path) is None


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path):
    path = tmp_path / "one.ledger"
    write_ledger(small_ledger(), path)
    with pytest.raises(TypeError):
        write_ledger(small_ledger(facts={"not": {1, 2}}), path)
    assert list(tmp_path.iterdir()) == [path]
    assert_same(read_ledger(path), small_ledger())


def test_a_ledger_is_read_without_torch(tmp_path):
    path = tmp_path / "one.ledger"
    write_ledger(small_ledger(), path)
    program = (
        "import sys\nfrom pathlib import Path\nfrom estimators.ledger_file import read_ledger\n"
        "assert read_ledger(Path(sys.argv[1]))\nsys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0

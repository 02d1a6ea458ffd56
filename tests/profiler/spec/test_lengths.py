import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.errors import UsageError
from profiler.spec import TrialSpec
from profiler.spec.lengths import parse_lengths, read_lengths


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "data.jsonl"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_a_list_keeps_its_order():
    assert parse_lengths([512, 128, 512]) == (512, 128, 512)


def test_a_histogram_is_sorted_by_length():
    assert list(parse_lengths({512: 1, 64: 2, "128": 3}).items()) == [("64", 2), ("128", 3), ("512", 1)]


@given(st.dictionaries(st.integers(1, 10_000), st.integers(1, 100), min_size=1))
@settings(deadline=None)
def test_a_histogram_survives_json(histogram):
    spec = TrialSpec.parse({"model": "gpt2", "lengths": histogram})
    back = TrialSpec.from_canonical(json.loads(json.dumps(spec.canonical)))
    assert {int(length): count for length, count in back.lengths.items()} == histogram


def test_reads_every_form_of_a_sample(write):
    lines = ["12", '{"length": 12}', '{"num_tokens": 7, "text": "x"}', "", '{"input_ids": [5, 6, 7]}', "  "]
    assert read_lengths(write("\n".join(lines))) == {3: 1, 7: 1, 12: 2}


def test_what_is_read_is_a_histogram_of_a_spec(write):
    histogram = read_lengths(write("3\n3\n5\n"))
    assert TrialSpec.parse({"model": "gpt2", "lengths": histogram}).lengths == {"3": 2, "5": 1}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "FILE holds no samples"),
        ("\n \n", "FILE holds no samples"),
        ("12\nnot json\n", "FILE, line 2: not JSON"),
        ("12\n\n{\n", "FILE, line 3: not JSON"),
        ("[" * 100_000, "FILE, line 1: not JSON"),
        (b"\xff\n", "FILE is not a text file in UTF-8"),
        *(
            (sample, "FILE, line 1: expected a length, or an object with length, num_tokens or input_ids")
            for sample in (
                "0", "-3", "1.5", "true", "null", '"x"', "[1, 2]", "{}", '{"text": "x"}', '{"input_ids": []}',
            )
        ),
    ],
)  # fmt: skip
def test_refuses_with_a_sentence(write, content, says):
    path = write(content)
    with pytest.raises(UsageError) as caught:
        read_lengths(path)
    assert str(caught.value).replace(str(path), "FILE") == says


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*: No such file or directory"):
        read_lengths(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match=r"cannot read .*: Is a directory"):
        read_lengths(tmp_path)

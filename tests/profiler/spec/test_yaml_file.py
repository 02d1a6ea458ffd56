import pytest

from profiler.errors import UsageError
from profiler.spec.yaml_file import read_yaml


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "x.yaml"
        path.write_text(text, encoding="utf-8")
        return read_yaml(path)

    return read


def test_reads_what_people_write(read):
    text = "none: none\nbig: 1e-4\nfloat: 2.5e3\nday: 2026-11-24\nyes: true\nnull: ~\nlist: [1, 0.5]\n"
    assert read(text) == {
        "none": "none",
        "big": 1e-4,
        "float": 2500.0,
        "day": "2026-11-24",
        True: True,
        None: None,
        "list": [1, 0.5],
    }


def test_aliases_and_merges(read):
    text = (
        "common: &common {model: gpt2, batch_size: 1}\ntrials:\n- {<<: *common, batch_size: 2}\n- *common\n"
    )
    assert read(text)["trials"] == [{"model": "gpt2", "batch_size": 2}, {"model": "gpt2", "batch_size": 1}]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &x [*x]", "an alias refers to what it is part of"),
        ("a: &x {b: *x}", "an alias refers to what it is part of"),
        (
            "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)),
            "aliases make this stand for more than 1,000,000 values",
        ),
        ("a: " + "[" * 40 + "]" * 40, "more than 30 levels of nesting"),
        ("a: " + "[" * 5000 + "]" * 5000, "is nested more than 30 levels deep"),
        ("[a, b]: c", "a key must be a plain word"),
        ("? {a: b}\n: c", "a key must be a plain word"),
        ("a: !!int x", "line 1, column 4: 'x' is not a value of its type"),
        ("a: !!bool x", "line 1, column 4: 'x' is not a value of its type"),
        ("a: !!binary x", "is not a kind of value that settings have"),
        ("a: 1\nb:\n  c: 1\n  c: 2", "line 4, column 3: 'c' is set twice"),
        ("a: 1\n--- \nb: 2", "but found another document"),
        ("a: *b", "line 1, column 4: found undefined alias 'b'"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
    ],
)
def test_refuses_with_a_sentence(read, text, says):
    with pytest.raises(UsageError) as caught:
        read(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)

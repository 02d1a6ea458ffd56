import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from planner.trainer_files.text_edit import edit_json, edit_yaml

TEXT = """\
# head
a: 1  # one
b:
  - x  # first
  - y
# about c
c: "q"   # quoted

d:
e: |
  block
  text
f: {k: 1}  # flow
# tail
"""


@pytest.mark.parametrize(
    ("changes", "old", "new"),
    [
        ({"a": 2}, "a: 1  # one", "a: 2  # one"),
        ({"b": ["z"]}, "b:\n  - x  # first\n  - y\n", "b:\n- z\n"),
        ({"c": "it's"}, 'c: "q"   # quoted', "c: it's   # quoted"),
        ({"d": True}, "d:\n", "d: true\n"),
        ({"e": "no"}, "e: |\n  block\n  text\n", "e: 'no'\n"),
        ({"f": {"k": 2}}, "f: {k: 1}  # flow", "f:\n  k: 2  # flow"),
        ({"a": None}, "a: 1  # one\n", ""),
        ({"b": None}, "b:\n  - x  # first\n  - y\n", ""),
        ({"g": 0.5}, "f: {k: 1}  # flow\n", "f: {k: 1}  # flow\ng: 0.5\n"),
        ({"g": None}, "", ""),
    ],
)
def test_only_the_key_changes(changes, old, new):
    assert edit_yaml(TEXT, yaml.safe_load(TEXT), changes) == TEXT.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        ("a: 1", {"b": 2}, "a: 1\nb: 2"),
        ("a: 1\r\nb: 2\r\n", {"a": 3, "c": [1]}, "a: 3\r\nb: 2\r\nc:\r\n- 1\r\n"),
        ("a: 1\r\nb: 2\r\n", {"a": None}, "b: 2\r\n"),
        ("  a: 1\n  b: 2\n", {"a": [3], "c": 4}, "  a:\n  - 3\n  b: 2\n  c: 4\n"),
        ("a: &x 1\nb: *x\nc: 2\n", {"b": 5}, "a: &x 1\nb: 5\nc: 2\n"),
        ("a: [1, *x]\n".replace("*x", "2"), {"a": 1}, "a: 1\n"),
        ("---\na: 1\n...\n", {"b": 2}, "---\na: 1\nb: 2\n...\n"),
        ("{a: 1, b: 2}\n", {"a": None, "c": 3}, "b: 2\nc: 3\n"),
        ("a:\n  k:\n    - 1\n\n# about b\nb: 2\n", {"a": 0}, "a: 0\n\n# about b\nb: 2\n"),
    ],
)
def test_forms_of_yaml(text, changes, expected):
    assert edit_yaml(text, yaml.safe_load(text), changes) == expected


def test_json_keeps_order_and_indentation():
    text = '{\n    "b": 1,\n    "a": "\u00e9",\n    "c": null\n}\n'
    assert edit_json(text, json.loads(text), {"b": None, "d": [1]}) == (
        '{\n    "a": "\u00e9",\n    "c": null,\n    "d": [\n        1\n    ]\n}\n'
    )
    assert edit_json('{"a": 1}', {"a": 1}, {"a": 3}) == '{"a": 3}'


KEYS = st.sampled_from(["a", "b", "c", "lora_r", "no"])
VALUES = st.recursive(
    st.booleans() | st.integers(-5, 5) | st.sampled_from(["x", "no", "1", "a: b", "# c", "", "it's\nso"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=4,
)


@given(
    content=st.dictionaries(KEYS, VALUES | st.none(), min_size=1),
    changes=st.dictionaries(KEYS, VALUES | st.none()),
    flow=st.sampled_from([False, None]),
)
def test_edited_texts_mean_what_was_asked(content, changes, flow):
    expected = {
        key: value for key, value in {**content, **changes}.items() if changes.get(key, 0) is not None
    }
    text = yaml.safe_dump(content, default_flow_style=flow, sort_keys=False)
    assert (yaml.safe_load(edit_yaml(text, content, changes)) or {}) == expected
    assert json.loads(edit_json(json.dumps(content, indent=1), content, changes)) == expected

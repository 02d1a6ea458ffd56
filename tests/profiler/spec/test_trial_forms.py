import copy
import csv
import io
import json
import pickle

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiler.errors import UsageError
from profiler.spec import TrialSpec
from profiler.spec.frozen import canonical_json, thaw
from profiler.spec.yaml_file import read_yaml
from tests.profiler.spec.trial_settings import SETTINGS

forms = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@forms
@given(SETTINGS)
def test_parsing_again_changes_nothing(given_settings):
    spec = TrialSpec.parse(given_settings)
    assert TrialSpec.parse(spec.canonical) == spec
    assert TrialSpec.parse(spec.model_dump(mode="json")) == spec
    assert spec.with_changes() == spec


@forms
@given(SETTINGS)
def test_canonical_form_round_trip(given_settings):
    spec = TrialSpec.parse(given_settings)
    for form in (spec.canonical, canonical_json(spec.canonical), json.dumps(spec.canonical, indent=1)):
        back = TrialSpec.from_canonical(form)
        assert back == spec
        assert back.key == spec.key
        assert back.model_dump() == spec.model_dump()


@forms
@given(SETTINGS)
def test_row_round_trip(given_settings):
    spec = TrialSpec.parse(given_settings)
    row = spec.to_row()
    assert list(row) == list(TrialSpec.model_fields)
    assert not [value for value in row.values() if isinstance(value, dict | list | tuple)]
    assert TrialSpec.from_row({**row, "outcome": "ok", "peak_allocated_bytes": 3}) == spec


@forms
@given(st.lists(SETTINGS, min_size=1, max_size=3))
def test_csv_round_trip(many):
    specs = [TrialSpec.parse(given_settings) for given_settings in many]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(TrialSpec.model_fields))
    writer.writeheader()
    writer.writerows(spec.to_row() for spec in specs)
    text.seek(0)
    assert [TrialSpec.from_row(row) for row in csv.DictReader(text)] == specs


@forms
@given(st.lists(SETTINGS, min_size=1, max_size=3))
def test_pandas_round_trip(many):
    specs = [TrialSpec.parse(given_settings) for given_settings in many]
    frame = pd.DataFrame([spec.to_row() for spec in specs])
    # pandas 2 reads floats faster than exactly unless told otherwise.
    read_back = pd.read_csv(io.StringIO(frame.to_csv(index=False)), float_precision="round_trip")
    for table in (frame, frame.convert_dtypes(), read_back):
        assert [TrialSpec.from_row(row) for row in table.to_dict("records")] == specs
        assert [TrialSpec.from_row(row) for _, row in table.iterrows()] == specs


@forms
@given(SETTINGS)
def test_yaml_round_trip(tmp_path_factory, given_settings):
    path = tmp_path_factory.getbasetemp() / "trial.yaml"
    spec = TrialSpec.parse(given_settings)
    for form in (spec.canonical, thaw(spec.model_dump(mode="json")), given_settings):
        path.write_text(yaml.safe_dump(form), encoding="utf-8")
        assert TrialSpec.parse(read_yaml(path)) == spec


@forms
@given(SETTINGS, st.randoms())
def test_order_does_not_matter(given_settings, random):
    spec = TrialSpec.parse(given_settings)
    items = list(given_settings.items())
    random.shuffle(items)
    shuffled = dict(items)
    if options := shuffled.get("method_options"):
        shuffled["method_options"] = dict(reversed(options.items()))
    assert TrialSpec.parse(shuffled).key == spec.key


@forms
@given(SETTINGS, SETTINGS)
def test_equal_is_the_same_key_and_hash(one, other):
    one, other = TrialSpec.parse(one), TrialSpec.parse(other)
    assert (one == other) == (one.key == other.key) == (one.model_dump() == other.model_dump())
    assert len({one, other, TrialSpec.parse(one.canonical)}) == (1 if one == other else 2)


def test_numbers_that_are_equal_have_one_key():
    def key(**options):
        return TrialSpec.parse({"model": "gpt2", "method": "lora", "method_options": options}).key

    assert key(lora_alpha=16, lora_dropout=0) == key(lora_alpha=16.0, lora_dropout=-0.0)
    assert key(lora_dropout=0.5) != key(lora_dropout=0)
    assert key(use_dora=True) != key(use_dora=1)


def test_is_no_other_thing():
    assert TrialSpec.parse({"model": "gpt2"}) != {"model": "openai-community/gpt2"}


def test_is_frozen_to_the_leaves():
    spec = TrialSpec.parse({"model": "gpt2", "method": "lora", "method_options": {"rank_pattern": {"a": 1}}})
    with pytest.raises(ValueError, match="frozen"):
        spec.batch_size = 2
    for mapping in (spec.method_options, spec.method_options["rank_pattern"]):
        with pytest.raises(TypeError):
            mapping["r"] = 2
    histogram = TrialSpec.parse({"model": "gpt2", "lengths": {128: 1}})
    with pytest.raises(TypeError):
        histogram.lengths["128"] = 2


def test_what_it_hands_out_is_not_shared():
    spec = TrialSpec.parse({"model": "gpt2", "method": "lora", "method_options": {"target_modules": ["q"]}})
    key = spec.key
    spec.canonical["method_options"]["target_modules"].append("v")
    assert spec == TrialSpec.from_canonical(spec.canonical)
    assert TrialSpec.from_canonical(spec.canonical).key == key


def test_is_not_tied_to_the_settings_it_came_from():
    given_settings = {"model": "gpt2", "method": "lora", "method_options": {"target_modules": ["q"]}}
    spec = TrialSpec.parse(given_settings)
    given_settings["method_options"]["target_modules"].append("v")
    assert spec.method_options["target_modules"] == ("q",)


@forms
@given(SETTINGS)
def test_copies_and_pickles(given_settings):
    spec = TrialSpec.parse(given_settings)
    for same in (copy.copy(spec), copy.deepcopy(spec), pickle.loads(pickle.dumps(spec))):
        assert same.model_dump() == spec.model_dump()
        assert same.key == spec.key


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"model": "gpt2", "batch_size": "many"}, "the row: batch_size must be a whole number, not 'many'"),
        ({"model": "gpt2", "batch_size": 1.5}, "the row: batch_size must be a whole number, not 1.5"),
        ({"model": "gpt2", "batch_size": "0"}, "the row: batch_size must be at least 1, not 0"),
        ({"model": "gpt2", "compile": "perhaps"}, "the row: compile must be true or false, not 'perhaps'"),
        ({"model": "gpt2", "compile": 3}, "the row: compile must be true or false, not 3"),
        ({"model": "gpt2", "method_options": "{r: 8}"}, "the row: method_options: '{r: 8}' is not JSON"),
        ({"model": "gpt2", "method_options": "[1]"}, "the row: method_options must be a mapping"),
        ({"model": "gpt2", "lengths": "[0]"}, "the row: lengths: a length must be a whole number from 1"),
        ({"model": "gpt2", "precision": "bf17"}, "the row: precision must be 'bf16'"),
        ({"model": "gpt2", "max_grad_norm": "1,5"}, "the row: max_grad_norm must be a number, not '1,5'"),
        ({"model": 3}, "the row: model must be a text, not 3"),
        ({"method": "lora"}, "the row: model is missing"),
    ],
)
def test_a_row_with_a_wrong_cell_is_refused(row, says):
    with pytest.raises(UsageError) as caught:
        TrialSpec.from_row(row)
    assert str(caught.value).startswith(says)


def test_empty_cells_are_defaults():
    spec = TrialSpec.parse({"model": "gpt2"})
    empty = dict.fromkeys(set(TrialSpec.model_fields) - {"model"}, "")
    assert TrialSpec.from_row({"model": spec.model, **empty}) == spec


def test_booleans_that_a_database_holds_as_numbers():
    assert TrialSpec.from_row({"model": "me/m", "compile": 1, "padding_mask": 0.0}).canonical == {
        "model": "me/m", "task": "causal-lm", "compile": True, "padding_mask": False,
    }  # fmt: skip

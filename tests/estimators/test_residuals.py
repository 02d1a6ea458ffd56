import json
from importlib import resources

from estimators.residuals import memory_residuals


def test_the_interval_is_one_of_relative_errors():
    found = memory_residuals()
    assert 0.5 <= found.level < 1
    assert -0.5 < found.low <= 0 <= found.high < 0.5
    assert found.low < found.high
    assert found.rows >= 0
    assert found.source


def test_they_are_those_of_the_file():
    text = resources.files("estimators").joinpath("memory_residuals.json").read_text(encoding="utf-8")
    assert vars(memory_residuals()) == json.loads(text)

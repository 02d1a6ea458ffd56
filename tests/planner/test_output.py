import csv
import io
import json
import re

import pytest

from planner.cli.output import human_column, print_object, print_rows
from profiler.errors import UsageError

GIB = 2**30


def printed(rows, columns, format="table"):
    stream = io.StringIO()
    print_rows(rows, columns, format=format, stream=stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "values", "header", "cells"),
    [
        ("peak_reserved_bytes", [GIB, 3 * GIB // 2, None], "peak reserved (GiB)", ["1.000", "1.500", "–"]),
        ("peak_reserved_bytes", [2**20, 0], "peak reserved (MiB)", ["1.0", "0.0"]),
        ("context_bytes", [None], "context (MiB)", ["–"]),
        ("step_seconds_median", [0.123456, 12345.6], "step median (s)", ["0.1235", "12,346"]),
        ("tokens_per_second", [1.5], "tokens per second", ["1.5"]),
        ("energy_joules_per_step", [2], "energy per step (J)", ["2"]),
        ("bandwidth_gb_s", [3350.0], "bandwidth (GB/s)", ["3,350"]),
        ("tdp_w", [700.0], "tdp (W)", ["700"]),
        ("throttled", [True, False, None], "throttled", ["yes", "no", "–"]),
        ("total_parameters", [1235814400], "total parameters", ["1,235,814,400"]),
        ("aliases", [("a", "b"), ()], "aliases", ["a, b", "–"]),
        ("message", ["two\nlines \x1b[31mred"], "message", ["two lines  [31mred"]),
    ],
)
def test_people_see_units_in_the_header(name, values, header, cells):
    assert human_column(name, values) == (header, cells)


def test_a_piped_table_is_not_cut():
    text = "x" * 300
    assert text in printed([{"message": text, "n": 1}], ["message", "n"])


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("width", [40, 12])
def test_a_terminal_never_breaks_a_number(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    rows = [{"total_parameters": 1235814400, "text": "word " * 12}]
    print_rows(rows, ["text", "total_parameters"], stream=stream)
    lines = re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert any("1,235,814,400" in line for line in lines)
    assert all(len(line) <= 40 for line in lines) is (width == 40)


def test_numbers_are_right_aligned_and_markup_is_text():
    out = printed([{"name": "[red]a[/red]", "n": 5}, {"name": "b", "n": 12345}], ["name", "n"])
    lines = out.splitlines()
    assert lines[-2].rstrip().endswith(" 5")
    assert lines[-1].rstrip().endswith("12,345")
    assert len(lines[-2].rstrip()) == len(lines[-1].rstrip())
    assert "[red]a[/red]" in out


def test_json_has_raw_values_and_a_schema_version():
    rows = [{"peak_reserved_bytes": GIB, "aliases": ("a",), "ok": True}, {"peak_reserved_bytes": None}]
    assert json.loads(printed(rows, ["peak_reserved_bytes", "aliases", "ok"], "json")) == [
        {"schema_version": 1, "peak_reserved_bytes": GIB, "aliases": ["a"], "ok": True},
        {"schema_version": 1, "peak_reserved_bytes": None, "aliases": None, "ok": None},
    ]
    assert json.loads(printed([], ["a"], "json")) == []


def test_csv_has_raw_values():
    rows = [{"a_bytes": GIB, "b": None, "c": False, "d": 'x,"y"\n', "e": ["p"], "f": 0.1}]
    (row,) = csv.DictReader(io.StringIO(printed(rows, ["a_bytes", *"bcdef"], "csv")))
    assert row == {"a_bytes": str(GIB), "b": "", "c": "false", "d": 'x,"y"\n', "e": '["p"]', "f": "0.1"}


def test_markdown():
    assert printed([{"name": "a|b", "peak_bytes": GIB}], ["name", "peak_bytes"], "md") == (
        "| name | peak (GiB) |\n| --- | ---: |\n| a\\|b | 1.000 |\n"
    )


def test_one_object_is_one_json_object_and_a_line_per_key_for_people():
    stream = io.StringIO()
    print_object({"disk_bytes": GIB, "name": "x"}, format="json", stream=stream)
    assert json.loads(stream.getvalue()) == {"schema_version": 1, "disk_bytes": GIB, "name": "x"}
    stream = io.StringIO()
    print_object({"disk_bytes": GIB, "name": "x"}, format="md", stream=stream)
    assert "| disk (GiB) | 1.000 |\n| name | x |\n" in stream.getvalue()


def test_an_unknown_format_is_refused():
    with pytest.raises(UsageError, match="unknown format 'xml'"):
        printed([], [], "xml")

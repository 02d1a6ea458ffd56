import csv
import io
import json

import pandas
import pytest

from profiler.measurement import Outcome
from tests.factories import environment, measurement, trial_spec

GIB = 2**30


def timed(seconds, peak_bytes=GIB, **fields):
    return measurement(figures={"step_seconds_median": seconds, "peak_reserved_bytes": peak_bytes}, **fields)


@pytest.fixture
def filled(add):
    add(
        timed(1.0, 2 * GIB, repeat=1, sweep="first"),
        timed(2.0, 2 * GIB, repeat=2, sweep="first"),
        timed(4.0, 2 * GIB, repeat=3, sweep="first"),
        timed(0.5, 5 * GIB, spec=trial_spec(batch_size=8)),
        measurement(spec=trial_spec(batch_size=64), outcome=Outcome.OOM),
        timed(9.0, spec=trial_spec(model="acme/unknown"), origin="imported:paper"),
    )


@pytest.fixture
def rows(sizeup, filled):
    """Call this with options of `results`; it returns the rows of the JSON."""

    def call(*arguments):
        code, out, _ = sizeup("results", "--format", "json", *arguments)
        assert code == 0
        return json.loads(out)

    return call


def test_one_row_stands_for_all_repeats(rows):
    first, second, third = rows()
    assert first["schema_version"] == 1
    assert (first["processes"], first["ok"], first["step_seconds_median"]) == (3, 3, 2.0)
    assert first["step_seconds_pi95_low"] < 1 < 4 < first["step_seconds_pi95_high"]
    assert (second["processes"], second["step_seconds_pi95_low"]) == (1, None)
    assert (third["ok"], third["oom"], third["peak_reserved_bytes"]) == (0, 1, None)


def test_each_attempt_has_its_row(rows):
    assert [row["repeat"] for row in rows("--each", "--sweep", "first")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "batch_sizes"),
    [
        ((), [2, 8, 64]),
        (("--where", "batch_size > 2"), [8, 64]),
        (("--where", "outcome == 'oom'"), [64]),
        (("--where", "device_name == 'NVIDIA L40S' and step_seconds_median < 1"), [8]),
        (("--sweep", "first"), [2]),
        (("--model", "llama-3.2-1b"), [2, 8, 64]),
        (("--model", "gpt2"), []),
        (("--sort", "-peak_reserved_bytes"), [8, 2, 64]),
        (("--sort", "peak_reserved_bytes"), [2, 8, 64]),
        (("--sort", "-batch_size", "--limit", "2"), [64, 8]),
        (("--sort", "-use_cache", "--limit", "1"), [2]),
        (("--origin", "imported:paper"), [2]),
        (("--origin", "all"), [2, 8, 64, 2]),
        (("--origin", "all", "--model", "acme/unknown"), [2]),
    ],
)
def test_filters_and_order(rows, arguments, batch_sizes):
    assert [row["batch_size"] for row in rows(*arguments)] == batch_sizes


def test_a_table_shows_figures_and_what_tells_the_rows_apart(sizeup, filled):
    code, out, _ = sizeup("results")
    assert code == 0
    header = " ".join(out.splitlines()[0].split())
    assert header == (
        "model method batch size device processes ok oom peak reserved (GiB) step median (s) "
        "step pi95 low (s) step pi95 high (s)"
    )


def test_environments_are_told_apart(sizeup, add):
    add(timed(1.0), timed(2.0, environment=environment(torch_version="2.10.0")))
    _, out, _ = sizeup("results")
    assert "environment key" in out
    assert len(out.splitlines()) == 4


def test_chosen_columns(sizeup, filled):
    _, out, _ = sizeup("results", "--columns", "batch_size, peak_reserved_bytes", "--format", "csv")
    assert list(csv.reader(io.StringIO(out))) == [
        ["batch_size", "peak_reserved_bytes"], ["2", str(2 * GIB)], ["8", str(5 * GIB)], ["64", ""],
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_a_file_instead_of_stdout(sizeup, filled, refusal, tmp_path, ending):
    path = tmp_path / f"out.{ending}"
    arguments = ("results", "--sort", "-batch_size", "--output", path)
    assert sizeup(*arguments) == (0, "", f"Wrote {path} (3 rows).\n")
    frame = {"csv": pandas.read_csv, "json": pandas.read_json, "parquet": pandas.read_parquet}[ending](path)
    assert list(frame["batch_size"]) == [64, 8, 2]
    assert "already there" in refusal(*arguments)[1]
    assert sizeup(*arguments, "--overwrite")[0] == 0


def test_nothing_found_is_said_and_no_error(sizeup, filled, store_path):
    code, out, err = sizeup("results", "--where", "batch_size > 100")
    assert (code, out) == (0, "")
    assert err == f"No measurement in {store_path} meets this.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--where", "batchsize > 2"], 2, "batch_size"),
        (["--where", "method == lora"], 2, "write it in quotes"),
        (["--sort", "peak"], 2, "unknown column 'peak'"),
        (["--columns", "model,metod"], 2, "did you mean method"),
        (["--columns", ","], 2, "at least one column"),
        (["--model", "llama-3.2-1x"], 2, "unknown model 'llama-3.2-1x'; did you mean"),
        (["--limit", "0"], 2, "--limit"),
        (["--output", "out.xlsx"], 2, "xlsx"),
        (["--store", "missing.db"], 1, "there is no store at"),
    ],
)
def test_mistakes(refusal, filled, arguments, code, sentence):
    assert refusal("results", *arguments)[0] == code
    assert sentence in refusal("results", *arguments)[1]


def test_a_file_that_is_no_store(refusal, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    code, said = refusal("results", "--store", tmp_path / "notes.txt")
    assert code == 1
    assert "is not a store" in said

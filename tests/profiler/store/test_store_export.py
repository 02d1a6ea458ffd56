import csv
import io
import json

import pandas as pd
import pytest
from pyarrow import parquet

from profiler.errors import StoreError, UsageError
from profiler.measurement import Outcome
from profiler.spec import TrialSpec
from profiler.store import FORMATS, SCHEMA_VERSION, export
from tests.factories import environment, measurement, trial_spec

ODD_TEXT = 'comma, "quote"\r\nlines\rand\nö 😀'


@pytest.fixture
def filled(store):
    store.add(
        measurement(
            spec=trial_spec(method_options={"r": 8}, lengths=[512, 128], use_cache=False),
            figures={"peak_reserved_bytes": 2**53 + 1, "mfu": 0.1, "throttled": False},
        )
    )
    store.add(measurement(outcome=Outcome.OOM, message=ODD_TEXT, environment=environment(driver="580.1")))
    store.add(measurement(origin="virtual"))
    return store


def read_back(path):
    """The rows of a file, with absent cells left out."""
    if path.suffix == ".json":
        rows = json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""))
    else:
        rows = parquet.read_table(path).to_pylist()
    return [{name: cell for name, cell in row.items() if cell not in (None, "")} for row in rows]


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_holds_the_selected_rows_and_their_specs(filled, tmp_path, format):
    path = tmp_path / f"rows.{format}"
    assert filled.export(path) == 2
    rows, expected = read_back(path), filled.rows()
    assert [row["id"] for row in rows] == [row["id"] for row in expected]
    assert [TrialSpec.from_row(row) for row in rows] == [row.spec for row in filled.measurements()]
    assert str(rows[0]["peak_reserved_bytes"]) == str(2**53 + 1)
    assert float(rows[0]["mfu"]) == 0.1
    assert str(rows[0]["throttled"]).lower() == "false"
    assert "mfu" not in rows[1]
    assert rows[1]["message"] == ODD_TEXT
    assert rows[1]["driver"] == "580.1"


@pytest.mark.parametrize("format", FORMATS)
def test_pandas_reads_every_format(filled, tmp_path, format):
    path = tmp_path / f"rows.{format}"
    filled.export(path, origins=None)
    frame = getattr(pd, f"read_{format}")(path)
    expected = filled.frame(origins=None)
    assert list(frame["id"]) == list(expected["id"])
    assert list(frame["host_cpu_count"]) == [8, 8, 8]
    assert frame["step_seconds_median"].isna().tolist() == [True, True, False]
    if format == "parquet":
        pd.testing.assert_frame_equal(frame, expected)


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_an_empty_selection_keeps_the_columns(store, tmp_path, format):
    path = tmp_path / f"rows.{format}"
    assert store.export(path) == 0
    frame = getattr(pd, f"read_{format}")(path)
    assert list(frame.columns) == list(store.frame().columns)
    if format == "parquet":
        assert dict(frame.dtypes) == dict(store.frame().dtypes)


def test_a_message_with_a_lone_carriage_return_stays_one_row_of_csv(store, tmp_path):
    store.add(measurement(outcome=Outcome.OOM, message="progress 1%\rprogress 2%"))
    store.export(tmp_path / "rows.csv")
    assert list(pd.read_csv(tmp_path / "rows.csv")["message"]) == ["progress 1%\rprogress 2%"]


def test_json_is_a_list_of_objects_with_their_version(filled, tmp_path):
    path = tmp_path / "rows.json"
    filled.export(path)
    rows = json.loads(path.read_text())
    assert [row.pop("schema_version") for row in rows] == [SCHEMA_VERSION] * 2
    assert rows == filled.rows()
    filled.export(path, sweep="none", overwrite=True)
    assert json.loads(path.read_text()) == []


def test_the_order_of_columns_does_not_depend_on_the_rows(filled, tmp_path):
    filled.export(tmp_path / "all.csv", origins=None)
    filled.export(tmp_path / "some.csv", origins=["virtual"])
    every, some = (
        (tmp_path / name).read_text().splitlines()[0].split(",") for name in ("all.csv", "some.csv")
    )
    assert [name for name in every if name in some] == some
    assert every[0] == "id"


def test_a_filtered_table_can_be_exported_in_any_format_under_any_name(filled, tmp_path):
    rows = filled.table(origins=None).where(lambda row: row["outcome"] == "oom")
    export(rows, tmp_path / "failures", format="csv")
    assert list(pd.read_csv(tmp_path / "failures")["outcome"]) == ["oom"]


def test_a_file_that_is_there_is_replaced_only_when_allowed(filled, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("precious")
    with pytest.raises(StoreError, match=r"rows\.csv is already there"):
        filled.export(path)
    assert path.read_text() == "precious"
    filled.export(path, overwrite=True)
    assert path.read_text().startswith("id,")


def test_the_store_itself_is_never_replaced(filled, path, tmp_path):
    (tmp_path / "link.csv").symlink_to(path)
    before = path.read_bytes()
    for target in (path, tmp_path / "link.csv"):
        with pytest.raises(StoreError, match="it is the store itself"):
            filled.export(target, format="csv", overwrite=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_export_that_fails_leaves_nothing_new(filled, tmp_path, monkeypatch, overwrite):
    def fail(table, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "there.csv").write_text("precious")
    monkeypatch.setitem(FORMATS, "csv", fail)
    name = "there.csv" if overwrite else "new.csv"
    with pytest.raises(StoreError, match=rf"cannot write .*{name}: no space left on device"):
        filled.export(folder / name, overwrite=overwrite)
    assert {file.name: file.read_text() for file in folder.iterdir()} == {"there.csv": "precious"}


def test_what_cannot_be_written_to_is_one_sentence(filled, tmp_path):
    with pytest.raises(StoreError, match=r"cannot write .*: no such file or directory"):
        filled.export(tmp_path / "missing" / "rows.csv")
    with pytest.raises(StoreError, match="it is not a file"):
        filled.export(tmp_path, format="csv", overwrite=True)
    with pytest.raises(UsageError, match="unknown format of an export 'xlsx'"):
        filled.export(tmp_path / "rows.xlsx")
    with pytest.raises(UsageError, match="no ending that names a format; known: csv, json, parquet"):
        filled.export(tmp_path / "rows")

import json

import pytest

from profiler.store import Store
from tests.profiler.importers.conftest import RESULT


@pytest.fixture
def results(tmp_path):
    """A folder with one good result and one file that is none."""
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "good.json").write_text(json.dumps(RESULT))
    (folder / "other.json").write_text("[]")
    return folder


def test_import_says_what_is_new_and_what_is_not_imported(sizeup, results, store_path):
    code, out, err = sizeup("import", "peft", results)
    assert (code, out) == (0, "")
    refused, summary = err.splitlines()
    assert refused.startswith("Not imported: other.json: it is no result of the method comparison")
    assert summary == f"Added 1 rows to {store_path} as imported:peft; 0 were there already."
    assert "Added 0 rows" in sizeup("import", "peft", results)[2]


def test_imported_rows_never_mix_with_own_rows_unasked(sizeup, results, store_path):
    sizeup("import", "peft", results, "--name", "suite")
    assert json.loads(sizeup("results", "--format", "json")[1]) == []
    (row,) = json.loads(sizeup("results", "--format", "json", "--origin", "imported:suite")[1])
    assert (row["origin"], row["peak_reserved_bytes"]) == ("imported:suite", 22552772608)


def test_a_dry_run_adds_nothing(sizeup, results, store_path):
    code, _, err = sizeup("import", "peft", results, "--dry-run")
    assert code == 0
    assert err.splitlines()[-1] == "1 rows would be imported as imported:peft."
    assert not store_path.exists()


def test_a_table(sizeup, tmp_path, store_path):
    (tmp_path / "bench.csv").write_text("m,peak\ngpt2,100\ngpt2,abc\n")
    code, _, err = sizeup(
        "import", "csv", tmp_path / "bench.csv", "--map", "m=model", "--map", "peak=peak_reserved_bytes:MiB",
        "--set", "device=cuda", "--set", "measured_at=2026-01-01",
    )  # fmt: skip
    assert code == 0
    assert "Not imported: bench.csv:3: column peak: peak_reserved_bytes must be a number" in err
    with Store.open(store_path) as store:
        (row,) = store.measurements(origins=("imported:bench",))
    assert row.figures["peak_reserved_bytes"] == 100 * 2**20


def test_rows_that_read_otherwise_are_told(sizeup, tmp_path, store_path):
    (tmp_path / "bench.csv").write_text("m,peak\ngpt2,100\n")
    for unit in ("MiB", "MB"):
        _, _, err = sizeup(
            "import", "csv", tmp_path / "bench.csv", "--map", "m=model", "--map",
            f"peak=peak_reserved_bytes:{unit}", "--set", "device=cuda",
        )  # fmt: skip
    assert err.splitlines()[-1] == (
        "1 of those were imported otherwise before and were left as they are; to renew them: "
        "sizeup store prune --origin imported:bench"
    )


def test_runs_of_the_trainer(sizeup, tmp_path, store_path):
    state = {"global_step": 2, "log_history": [{"train_runtime": 3.0}]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    stated = {
        "model": "gpt2", "method": "full", "precision": "fp32", "quantization": "none", "batch_size": 1,
        "optimizer": "adamw", "gradient_accumulation": 1, "gradient_checkpointing": "none",
        "sequence_length": 64, "device": "cpu",
    }  # fmt: skip
    options = [part for name, value in stated.items() for part in ("--set", f"{name}={value}")]
    code, _, err = sizeup("import", "trainer", tmp_path, *options)
    assert code == 0
    assert "Added 1 rows" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["peft", "nowhere"], "there is no file or folder nowhere"),
        (["csv", "nowhere.csv"], "no column is mapped"),
        (["csv", "nowhere.csv", "--map", "a=model"], "cannot read nowhere.csv"),
        (["csv", "nowhere.csv", "--map", "a=wings"], "unknown field 'wings'"),
        (["csv", "nowhere.csv", "--map", "a=model", "--set", "device"], "--set must be FIELD=VALUE"),
        (["trainer", "nowhere"], "there is no file or folder nowhere"),
    ],
)
def test_mistakes(refusal, arguments, sentence):
    code, said = refusal("import", *arguments)
    assert code == 2
    assert sentence in said


def test_nothing_usable_is_an_error(sizeup, results):
    (results / "good.json").unlink()
    code, _, err = sizeup("import", "peft", results)
    assert code == 2
    assert err.splitlines()[-1] == "Error: nothing was imported: no row of it is a measurement"

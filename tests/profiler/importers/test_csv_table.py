import contextlib
import textwrap
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.errors import UsageError
from profiler.importers import ColumnMapping, add_to_store, read_csv
from profiler.importers.fields import read_value
from profiler.importers.units import check_unit, convert, units_of
from profiler.measurement import FIGURES, Outcome, Reason
from profiler.spec import TrialSpec
from profiler.store import Store

TABLE = """\
    model_id,kind,rank,bs,peak (GiB),ms,status,when,card
    meta-llama/Llama-3.2-1B,qlora,16,4,5.5,250,completed,2026-01-02,Tesla T4
    meta-llama/Llama-3.2-1B,lora,8,8,,,oom,2026-01-02,Tesla T4
    meta-llama/Llama-3.2-1B,full,,2,,125.5,completed,2026-01-03T10:00:00+02:00,Tesla T4
    """
MAPPING = """\
    columns:
      model_id: model
      kind:
        - {field: method, values: {qlora: lora, lora: lora, full: full}}
        - {field: quantization, values: {qlora: nf4, lora: none, full: none}}
      rank: method_options.r
      bs: batch_size
      peak (GiB): {field: peak_reserved_bytes, unit: GiB}
      ms: {field: step_seconds_median, unit: ms}
      status: {field: outcome, values: {completed: ok, oom: oom}}
      when: measured_at
      card: device_name
    set: {device: cuda, sequence_length: 256, loop: raw, torch_version: "2.10"}
    """


@pytest.fixture
def write(tmp_path):
    """Call this to write a file of dedented text; it returns the path."""

    def to_file(name, text):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return to_file


@pytest.fixture
def mapping(write):
    return ColumnMapping.of((), file=write("mapping.yaml", MAPPING))


def test_lines_become_measurements(write, mapping):
    reading = read_csv(write("t.csv", TABLE), mapping, name="mine")
    quantised, oom, full = reading.measurements
    assert not reading.refused
    assert quantised.spec == TrialSpec.parse(
        {
            "model": "meta-llama/Llama-3.2-1B", "method": "qlora", "method_options": {"r": 16},
            "batch_size": 4, "sequence_length": 256, "loop": "raw",
        }
    )  # fmt: skip
    assert quantised.figures == {"peak_reserved_bytes": 5.5 * 2**30, "step_seconds_median": 0.25}
    assert quantised.environment.facts == {"device_name": "Tesla T4", "torch_version": "2.10"}
    assert (quantised.origin, quantised.device, quantised.outcome) == ("imported:mine", "cuda", Outcome.OK)
    assert (oom.outcome, oom.reason, dict(oom.figures)) == (Outcome.OOM, Reason.CUDA_OOM, {})
    assert full.spec.method_options == {}
    assert full.measured_at == datetime(2026, 1, 3, 8, tzinfo=UTC)
    assert dict(full.figures) == {"step_seconds_median": 0.1255}


def test_options_map_and_state_too(write):
    mapping = ColumnMapping.of(
        ["model_id=model", "a=b (GiB)=peak_allocated_bytes:MiB", "steps/s=step_seconds_median:1/s"],
        ["device=cpu", "method=lora", 'method_options.target_modules=["q_proj"]'],
    )
    text = "model_id,a=b (GiB),steps/s\nmeta-llama/Llama-3.2-1B,10,4\n"
    (row,) = read_csv(write("t.csv", text), mapping, name="mine").measurements
    assert dict(row.figures) == {"peak_allocated_bytes": 10 * 2**20, "step_seconds_median": 0.25}
    assert row.spec.method_options == {"target_modules": ("q_proj",)}
    assert row.device == "cpu"


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ("no/such-model-x,lora,8,zero,1,1,completed,2026-01-01,T4", "batch_size must be a whole number"),
        ("meta-llama/Llama-3.2-1B,galore,8,1,1,1,completed,2026-01-01,T4", "column kind is 'galore'"),
        ("meta-llama/Llama-3.2-1B,lora,8,1,abc,1,completed,2026-01-01,T4", "column peak .GiB.: .* a number"),
        ("meta-llama/Llama-3.2-1B,lora,8,1,-1,1,completed,2026-01-01,T4", "from 0 on"),
        ("meta-llama/Llama-3.2-1B,lora,8,1,nan,1,completed,2026-01-01,T4", "not nan"),
        ("meta-llama/Llama-3.2-1B,lora,8,1,0,1,completed,2026-01-01,T4", "is 0"),
        ("meta-llama/Llama-3.2-1B,lora,8,1,,,completed,2026-01-01,T4", "no figure"),
        ("meta-llama/Llama-3.2-1B,lora,8,1,1,1,completed,yesterday,T4", "measured_at must be a time"),
        (",lora,8,1,1,1,completed,2026-01-01,T4", "model is missing"),
        ("meta-llama/Llama-3.2-1B,lora,8,1,1", "cells"),
        ("meta-llama/Llama-3.2-1B,lora,8,1,1,1,completed,2026-01-01,T4,more", "cells"),
    ],
)
def test_a_line_that_is_no_measurement_is_named_and_the_others_come_in(write, mapping, cells, sentence):
    reading = read_csv(write("t.csv", textwrap.dedent(TABLE) + cells + "\n"), mapping, name="mine")
    assert len(reading.measurements) == 3
    (refused,) = reading.refused
    assert refused.row == "t.csv:5"
    with pytest.raises(UsageError, match=sentence):
        raise UsageError(refused.reason)


def test_peaks_of_an_oom_are_left_out_and_that_is_said(write, mapping):
    line = "meta-llama/Llama-3.2-1B,lora,8,1,15,1,oom,2026-01-01,T4\n"
    reading = read_csv(write("t.csv", textwrap.dedent(TABLE) + line), mapping, name="mine")
    assert dict(reading.measurements[-1].figures) == {}
    assert reading.notes == ("peaks and step times of attempts that did not finish are left out",)


def test_importing_twice_adds_nothing_and_equal_lines_are_attempts_of_their_own(write, mapping, tmp_path):
    text = textwrap.dedent(TABLE)
    path = write("t.csv", text + text.splitlines()[1] + "\n")
    with Store.open(tmp_path / "store.db") as store:
        assert add_to_store(read_csv(path, mapping, name="mine"), store).added == 4
        again = add_to_store(read_csv(path, mapping, name="mine"), store)
        assert (again.added, again.already_there, again.changed) == (0, 4, 0)


def test_another_mapping_of_known_lines_changes_nothing_and_is_counted(write, mapping, tmp_path):
    path = write("t.csv", TABLE)
    other = ColumnMapping.of((), file=write("other.yaml", MAPPING.replace("unit: ms", "unit: s")))
    with Store.open(tmp_path / "store.db") as store:
        add_to_store(read_csv(path, mapping, name="mine"), store)
        report = add_to_store(read_csv(path, other, name="mine"), store)
    assert (report.added, report.already_there, report.changed) == (0, 3, 2)


def test_a_touched_file_without_times_is_the_same(write, tmp_path):
    mapping = ColumnMapping.of(["m=model", "s=step_seconds_median"], ["device=cpu"])
    with Store.open(tmp_path / "store.db") as store:
        for _ in range(2):
            path = write("t.csv", "m,s\ngpt2,1\n")
            reading = read_csv(path, mapping, name="mine")
            report = add_to_store(reading, store)
            path.touch()
    assert (report.added, report.already_there, report.changed) == (0, 1, 0)
    assert "the time of the file stands in" in reading.notes[0]


@pytest.mark.parametrize(
    ("yaml", "sentence"),
    [
        ("columns: {a: bacth_size}", "did you mean batch_size"),
        ("columns: {a: {unit: GiB}}", "needs the name of its field"),
        ("columns: {a: {field: model, unti: GiB}}", "unknown key 'unti'"),
        ("columns: {a: {field: model, unit: GiB}}", "model has no unit"),
        ("columns: {a: {field: peak_reserved_bytes, unit: ms}}", "cannot be in 'ms'; known: B, kB"),
        ("columns: {a: {field: peak_reserved_bytes, unit: gib}}", "cannot be in 'gib'"),
        ("columns: {a: {field: tokens_per_second, unit: s}}", "has no unit"),
        ("columns: [a]", "columns must be a mapping"),
        ("columns: {a: {field: compile, values: {true: 1}}}", "in quotes"),
        ("rows: {}", "unknown key 'rows'; known: columns, set"),
        ("columns: {a: model}\nset: {model: gpt2}", "model is said by set and by column a"),
        ("columns: {a: model, b: model}", "said by column a and by column b"),
        ("set: {torch_version: 2.10}", "must be a text, in quotes"),
        ("set: {batch: 3}", "unknown field 'batch'"),
    ],
)
def test_mistakes_in_a_mapping(write, yaml, sentence):
    with pytest.raises(UsageError, match=sentence):
        ColumnMapping.of((), file=write("mapping.yaml", yaml))


@pytest.mark.parametrize("pair", ["model", "=model", "a=", "a=wings", "a=peak_reserved_bytes:parsec"])
def test_mistakes_in_options(pair):
    with pytest.raises(UsageError):
        ColumnMapping.of([pair])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a,a\n1,2\n", "two columns 'a'"), ("modle_id,x\n", "unknown column 'm'"), ("", "unknown column")],
)
def test_tables_that_the_mapping_does_not_fit(write, text, sentence):
    with pytest.raises(UsageError, match=sentence):
        read_csv(write("t.csv", text), ColumnMapping.of(["m=model"]), name="mine")


def test_files_that_are_no_tables(tmp_path):
    mapping = ColumnMapping.of(["m=model"])
    (tmp_path / "bytes.csv").write_bytes(b"m\n\xff\xfe\n")
    for name in ("bytes.csv", "missing.csv", "."):
        with pytest.raises(UsageError, match=r"cannot read|not a table"):
            read_csv(tmp_path / name, mapping, name="mine")


@pytest.mark.parametrize(
    ("field", "value", "unit", "expected"),
    [
        ("peak_process_bytes", "1.5", "GB", 1_500_000_000),
        ("peak_process_bytes", "3", "KiB", 3072),
        ("step_seconds_p95", "2", "min", 120.0),
        ("energy_joules_per_step", "1", "Wh", 3600.0),
        ("power_watts_mean", "0.3", "kW", 300.0),
        ("sm_clock_mhz_median", "1.5", "GHz", 1500.0),
        ("mfu", "40", "%", 0.4),
        ("steps_timed", "30", None, 30),
        ("throttled", "False", None, False),
        ("batch_size", "4.0", None, 4),
        ("compile", "True", None, True),
        ("lengths", "[128, 64]", None, [128, 64]),
        ("method_options.bias", "none", None, "none"),
        ("method_options.use_dora", "True", None, True),
        ("torch_version", "2.10", None, "2.10"),
        ("metric_value", "-1.5", None, -1.5),
        ("message", "  ", None, None),
    ],
)
def test_values(field, value, unit, expected):
    read = read_value(field, value, unit)
    assert read == pytest.approx(expected) if isinstance(expected, float) else read == expected
    assert type(read) is type(expected)


@given(st.sampled_from(sorted(FIGURES)), st.data(), st.floats(1e-3, 1e6))
def test_units_convert_there_and_back(name, data, number):
    units = units_of(name)
    if not units:
        with pytest.raises(UsageError, match="no unit"):
            check_unit(name, "GiB")
        return
    unit = data.draw(st.sampled_from(units))
    converted = convert(name, number, unit)
    back = 1 / converted if unit == "1/s" else converted / convert(name, 1, unit)
    assert back == pytest.approx(number)


@given(st.sampled_from(sorted(FIGURES)), st.text())
def test_whatever_a_cell_holds_is_a_value_or_refused(name, text):
    with contextlib.suppress(UsageError):
        value = read_value(name, text)
        assert value is None or isinstance(value, FIGURES[name].kind)

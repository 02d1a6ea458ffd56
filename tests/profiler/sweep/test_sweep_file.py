import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.errors import UsageError
from profiler.spec.frozen import thaw
from profiler.sweep import SweepFile
from profiler.sweep.plan import plan

FULL = """\
name: quick
device: cpu
repeats: 3
stop_after_oom: false
retries: 2
protocol: {warmup_min_steps: 2}
base: {sequence_length: 128}
grid:
  model: [smollm2-135m, pythia-70m]
  method: [full, lora]
together:
  - {precision: bf16, optimizer: adamw}
  - {precision: fp32, optimizer: sgd}
trials:
  - {model: gpt2, method: head}
skip:
  - method == "full" and precision == "fp32"
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="sweep.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refusal(path):
    with pytest.raises(UsageError) as caught:
        SweepFile.read(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert str(path) in sentence
    return sentence.replace(str(path), "FILE")


def test_reads_every_key(write):
    sweep = SweepFile.read(write(FULL))
    assert (sweep.name, sweep.device, sweep.repeats) == ("quick", "cpu", 3)
    assert (sweep.stop_after_oom, sweep.retries) == (False, 2)
    assert sweep.protocol == {"warmup_min_steps": 2}
    assert sweep.base == {"sequence_length": 128}
    assert sweep.grid == {"model": ("smollm2-135m", "pythia-70m"), "method": ("full", "lora")}
    assert sweep.together == (
        ({"precision": "bf16", "optimizer": "adamw"}, {"precision": "fp32", "optimizer": "sgd"}),
    )
    assert sweep.trials == ({"model": "gpt2", "method": "head"},)
    assert sweep.skip == ('method == "full" and precision == "fp32"',)


def test_defaults(write):
    sweep = SweepFile.read(write("base: {model: gpt2}\ngrid:\n", name="my-sweep.yaml"))
    assert (sweep.name, sweep.device, sweep.repeats) == ("my-sweep", None, 1)
    assert (sweep.stop_after_oom, sweep.retries, sweep.protocol) == (True, 1, {})
    assert (sweep.grid, sweep.together, sweep.trials, sweep.skip) == ({}, (), (), ())


def test_is_frozen_to_the_leaves(write):
    sweep = SweepFile.read(write(FULL))
    with pytest.raises(ValueError, match="frozen"):
        sweep.repeats = 5
    for mapping in (sweep.base, sweep.grid, sweep.protocol, sweep.trials[0], sweep.together[0][0]):
        with pytest.raises(TypeError):
            mapping["x"] = 1


def test_writes_itself_back(write):
    sweep = SweepFile.read(write(FULL))
    assert SweepFile.parse(sweep.model_dump(mode="json")).model_dump() == sweep.model_dump()


def test_one_condition_needs_no_list(write):
    assert SweepFile.read(write("base: {model: gpt2}\nskip: batch_size > 4\n")).skip == ("batch_size > 4",)


def test_several_axes_together(write):
    text = "together: [[{precision: bf16}, {precision: fp32}], [{model: gpt2, batch_size: 2}]]"
    sweep = SweepFile.read(write(text))
    assert thaw(sweep.together) == [
        [{"precision": "bf16"}, {"precision": "fp32"}],
        [{"model": "gpt2", "batch_size": 2}],
    ]


def test_lengths_may_have_numbers_as_keys(write):
    sweep = SweepFile.read(write("base: {model: gpt2}\ngrid: {lengths: [{128: 3, 64: 1}, [512, 128]]}"))
    assert [spec.lengths for spec in plan(sweep).specs] == [{"64": 1, "128": 3}, (512, 128)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "FILE is empty"),
        ("# nothing\n", "FILE is empty"),
        ("- 1\n", "FILE must hold settings, such as 'model: gpt2', not [1]"),
        ("just words", "FILE must hold settings, such as 'model: gpt2', not 'just words'"),
        ("base:\n\tmodel: gpt2\n", "FILE, line 2, column 1: a tab; YAML is indented with spaces"),
        ("grid: {model: [gpt2}\n", "FILE, line 1, column 20: expected ',' or ']', but got '}'"),
        ("base: {model: gpt2}\nbase: {}\n", "FILE, line 2, column 1: 'base' is set twice"),
        ("base: {model: gpt2, model: gpt2}\n", "FILE, line 1, column 21: 'model' is set twice"),
        (
            "base: !!python/object:os.system {}\n",
            "FILE, line 1, column 7: 'tag:yaml.org,2002:python/object:os.system' is not a kind of value",
        ),
        ("base: !!set {gpt2}\n", "FILE, line 1, column 7: 'tag:yaml.org,2002:set' is not a kind of value"),
        (b"base: \xff\n", "cannot read FILE: it is not a text file in UTF-8"),
        ("base: \x00", "FILE, line 1: a control character is not allowed in YAML"),
        ("gird: {model: [gpt2]}", "FILE: unknown field 'gird'; did you mean grid?"),
        ("3: 4", "FILE: unknown field '3'; known: name, device, repeats"),
        (
            "batch_size: 4",
            "FILE: batch_size is a setting of trials: put it under base, or as a list under grid",
        ),
        ("repeats: 0", "FILE: repeats must be at least 1, not 0"),
        ("repeats: true", "FILE: repeats must be a whole number, not True"),
        ("retries: -1", "FILE: retries must be at least 0, not -1"),
        ("stop_after_oom: 3", "FILE: stop_after_oom must be true or false, not 3"),
        ("device: 3", "FILE: device must be a text, not 3"),
        ("name: [x]", "FILE: name must be a text, not ['x']"),
        ("protocol: 3", "FILE: protocol must hold settings"),
        ("base: [1]", "FILE: base must hold settings, such as {batch_size: 4}, not [1]"),
        ("base: {batchsize: 4}", "FILE: base: unknown field 'batchsize'; did you mean batch_size"),
        ("base: {model_fingerprint: x}", "FILE: base: unknown field 'model_fingerprint'"),
        ("base: {1: 4}", "FILE: base: unknown field '1'"),
        ("base: {lengths: 4}", "FILE: base: lengths must be a list of lengths"),
        ("base: {method_options: {1: 2}}", "FILE: base: method_options: the key 1 is not a string"),
        ("grid: [1]", "FILE: grid must hold settings"),
        ("grid: {batchsize: [4]}", "FILE: grid: unknown field 'batchsize'; did you mean batch_size"),
        (
            "grid: {batch_size: 4}",
            "FILE: grid: batch_size must be a list, not 4; write [4], or set it under base",
        ),
        ("grid: {batch_size: []}", "FILE: grid: batch_size is an empty list"),
        ("together: {precision: bf16}", "FILE: together must be a list, not {'precision': 'bf16'}"),
        (
            "together: [{precision: bf16}, [{}]]",
            "FILE: together must be a list of mappings, or a list of lists",
        ),
        ("together: [[]]", "FILE: together holds an empty list"),
        ("together: [[3]]", "FILE: together must hold settings"),
        ("together: [{precison: bf16}]", "FILE: together: unknown field 'precison'; did you mean precision?"),
        ("trials: {model: gpt2}", "FILE: trials must be a list, not {'model': 'gpt2'}"),
        ("trials: [gpt2]", "FILE: trials must hold settings, such as {batch_size: 4}, not 'gpt2'"),
        ("trials: [{modl: gpt2}]", "FILE: trials: unknown field 'modl'; did you mean model"),
        ("skip: true", "FILE: skip must be a list, not True"),
        ("skip: [3]", "FILE: skip must hold conditions as texts, not 3"),
        ("skip: method == lora", "FILE: skip: lora is not a field; if it is a text, write it in quotes"),
        ("skip: metod == 'lora'", "FILE: skip: unknown field 'metod'; did you mean method"),
        (
            "base: {model: gpt2}\ngrid: {model: [gpt2]}",
            "FILE: model is set in both base and grid; set it in one of them",
        ),
        (
            "base: {precision: bf16}\ntogether: [{batch_size: 1}, {precision: fp32}]",
            "FILE: precision is set in both base and together; set it in one of them",
        ),
        (
            "grid: {precision: [bf16]}\ntogether: [{precision: fp32}]",
            "FILE: precision is set in both grid and together; set it in one of them",
        ),
        (
            "together: [[{precision: bf16}], [{precision: fp32}]]",
            "FILE: precision is set in two axes of together; set it in one of them",
        ),
    ],
)
def test_refuses_with_a_sentence(write, text, sentence):
    assert sentence in refusal(write(text))


def test_refuses_what_is_no_file(tmp_path):
    assert refusal(tmp_path / "no.yaml") == "cannot read FILE: No such file or directory"
    assert refusal(tmp_path) == "cannot read FILE: Is a directory"


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.dates()),
    lambda value: st.one_of(
        st.lists(value, max_size=3),
        st.dictionaries(
            st.one_of(st.sampled_from(["model", "lengths", "batch_size"]), st.integers()), value, max_size=3
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(list(SweepFile.model_fields)), VALUES, max_size=4))
def test_any_content_is_a_sweep_or_a_usage_error(content):
    sentence = "the sweep: "
    try:
        plan(SweepFile.parse(content))
    except UsageError as error:
        sentence = str(error)
    assert sentence.startswith("the sweep: ")


TOKENS = [
    "base", "grid", "model", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ", ", "&a ", "*a", "? ", "<<", "'",
    "!!int ", "!!bool ", "!!float ", "!!timestamp ", "!!set ", "!!binary ", "!!omap ", "|\n", "---\n", "%",
    "1", "=", "~",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(), st.lists(st.sampled_from(TOKENS), max_size=14).map("".join)))
def test_any_text_is_a_sweep_or_a_usage_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    sentence = str(path)
    try:
        SweepFile.read(path)
    except UsageError as error:
        sentence = str(error)
    assert str(path) in sentence


def test_yaml_written_by_a_machine_is_read(write):
    content = {"base": {"model": "gpt2"}, "grid": {"batch_size": [1, 2], "max_grad_norm": [0.1, 1e-7]}}
    sweep = SweepFile.read(write(yaml.safe_dump(content)))
    assert [spec.max_grad_norm for spec in plan(sweep).specs] == [0.1, 1e-7, 0.1, 1e-7]

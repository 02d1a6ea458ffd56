"""Tests of the data about GPUs' memory, and of what is said of cards that the data lacks."""

import csv
import dataclasses
import re
import statistics
from importlib import resources

import pytest

from profiler.catalog import find_gpu, gpus
from profiler.catalog import gpu_memory as module
from profiler.catalog.gpu_memory import gpu_memory, sourced_memory
from profiler.errors import NotPossibleError

MIB = 2**20
ROWS = sourced_memory()
CONTEXTS = {gpu_id: row for gpu_id, row in ROWS.items() if row.context_mib is not None}
each_row = pytest.mark.parametrize("gpu_id", ROWS)
each_gpu = pytest.mark.parametrize("gpu", gpus().values(), ids=lambda gpu: gpu.id)

# Two decimals of GiB are rounded outward, and drivers differ in the last MiB.
ROUNDING = 0.0005


def is_geforce(gpu):
    return "GeForce" in gpu.name


def totals(row):
    return [mib for mib in (row.torch_total_mib_low, row.torch_total_mib_high) if mib is not None]


def test_the_file_has_one_row_per_gpu_of_the_catalogue():
    text = resources.files("profiler.catalog").joinpath("gpu_memory.csv").read_text(encoding="utf-8")
    ids = [row["id"] for row in csv.DictReader(text.splitlines())]
    assert len(ids) == len(set(ids)) > 50
    assert set(ids) <= set(gpus())


def test_the_cards_that_people_train_on_have_a_total():
    cards = "t4 v100-sxm2-16gb a10g l4 l40s a100-sxm-80gb h100-sxm-80gb h200-sxm-141gb rtx-3090 rtx-4090"
    assert all(ROWS[gpu_id].torch_total_mib_low for gpu_id in cards.split())


@each_row
def test_ranges_are_in_order(gpu_id):
    row = ROWS[gpu_id]
    assert totals(row) == sorted(totals(row))
    context = (row.context_mib_low, row.context_mib, row.context_mib_high)
    assert context == (None, None, None) or context[0] < context[1] < context[2]


@each_row
def test_torch_sees_nearly_all_of_the_driver_s_total(gpu_id):
    gpu = gpus()[gpu_id]
    of = gpu.memory_mib or gpu.nominal_gib * 1024
    assert all(0.9 <= mib / of <= 1 + ROUNDING for mib in totals(ROWS[gpu_id]))


@each_row
def test_a_context_is_a_few_mib_for_each_multiprocessor(gpu_id):
    row = ROWS[gpu_id]
    if row.context_mib is not None:
        assert 100 < row.context_mib_low < row.context_mib_high < 1024
        assert 2 < row.context_mib / gpus()[gpu_id].sm_count < 6


@each_row
def test_every_figure_has_a_source_that_can_be_found(gpu_id):
    row = ROWS[gpu_id]
    has = {"torch": row.torch_total_mib_high is not None, "context": row.context_mib is not None}
    assert set(row.source) == {name for name in has if has[name]} != set()
    for source in row.source.values():
        assert re.search(r"\w[\w.-]*/[\w.-]+(#\d+| [\w/.]+\.md)|'[^']{8,}'", source)


@each_row
def test_the_low_end_is_blank_only_where_all_readings_are_of_windows(gpu_id):
    row = ROWS[gpu_id]
    if row.torch_total_mib_high is not None:
        assert (row.torch_total_mib_low is None) == row.source["torch"].startswith("Windows or WSL2: ")


@each_row
def test_the_printed_readings_are_in_the_range(gpu_id):
    row = ROWS[gpu_id]
    printed = row.source.get("torch", "")
    readings = [float(mib) for mib in re.findall(r"(\d{4,}(?:\.\d+)?) ?(?:MiB|MB)\b", printed)]
    readings += [float(gib) * 1024 for gib in re.findall(r"(\d+\.\d+) (?:GiB|GB)\b", printed)]
    readings += [int(size) / MIB for size in re.findall(r"(\d{9,}) bytes", printed)]
    assert readings or not printed
    for reading in readings:
        low = row.torch_total_mib_low or row.torch_total_mib_high
        assert low - 1 <= reading <= row.torch_total_mib_high * (1 + ROUNDING)


@pytest.mark.parametrize(
    ("fractions", "wants_geforce", "of_nominal"),
    [
        (module.GEFORCE_FRACTIONS, True, False),
        (module.GEFORCE_FRACTIONS, True, True),
        (module.OTHER_FRACTIONS, False, False),
        (module.OTHER_NOMINAL_FRACTIONS, False, True),
    ],
)
def test_what_is_said_of_other_cards_spans_the_readings(fractions, wants_geforce, of_nominal):
    found = []
    for gpu_id, row in ROWS.items():
        gpu = gpus()[gpu_id]
        of = gpu.nominal_gib * 1024 if of_nominal else gpu.memory_mib
        if of is not None and is_geforce(gpu) == wants_geforce:
            found += [mib / of for mib in totals(row)]
    assert fractions[0] == pytest.approx(min(found), abs=0.001)
    assert fractions[0] <= min(found)
    assert fractions[1] == pytest.approx(max(found), abs=ROUNDING)


def test_the_context_of_other_cards_spans_the_readings():
    count = {gpu_id: gpus()[gpu_id].sm_count for gpu_id in CONTEXTS}
    low, typical, high = module.CONTEXT_MIB_PER_SM
    lowest = min(row.context_mib_low / count[gpu_id] for gpu_id, row in CONTEXTS.items())
    highest = max(row.context_mib_high / count[gpu_id] for gpu_id, row in CONTEXTS.items())
    assert lowest - 0.1 < low <= lowest
    assert highest <= high < highest + 0.1
    median = statistics.median(row.context_mib / count[gpu_id] for gpu_id, row in CONTEXTS.items())
    assert typical == pytest.approx(median, abs=0.05)
    assert min(count.values()) == module.FEWEST_SM


@each_gpu
def test_every_gpu_of_the_catalogue_has_memory(gpu):
    memory = gpu_memory(gpu)
    low, high = memory.usable_bytes_range
    assert 0.86 * gpu.nominal_gib * 2**30 < low <= high <= 1.001 * gpu.nominal_gib * 2**30
    assert memory.context_bytes_range[0] < memory.context_bytes < memory.context_bytes_range[1] < 2 * 2**30
    room = memory.room_bytes_range
    assert 0 < room[0] == low - memory.context_bytes_range[1] < room[1] < high
    assert "\n" not in memory.source


def test_the_t4_is_what_its_sources_say():
    memory = gpu_memory(find_gpu("t4"))
    low, high = memory.usable_bytes_range
    assert low <= 14912 * MIB <= 15102 * MIB <= high
    assert memory.context_bytes == 141 * MIB
    assert "Anassbzdd/fitcheck" in memory.source


def test_a_card_known_from_windows_only_may_have_less_elsewhere():
    gpu = find_gpu("rtx-4070-super")
    memory = gpu_memory(gpu)
    assert memory.usable_bytes_range == (11618 * MIB, 12282 * MIB)
    assert memory.source.count("Windows or WSL2") == 1
    assert "elsewhere 0.946 to 1 of the driver's total" in memory.source


@pytest.mark.parametrize(
    ("changes", "usable_mib", "words"),
    [
        ({"name": "NVIDIA X1", "memory_mib": 10_000}, (9240, 10_000), "0.924 to 1 of the driver's total"),
        (
            {"name": "NVIDIA GeForce X1", "memory_mib": 10_000},
            (9460, 10_000),
            "0.946 to 1 of the driver's total",
        ),
        (
            {"name": "NVIDIA X1", "memory_mib": None, "nominal_gib": 10.0},
            (9308, 10_240),
            "0.909 to 1 of the number on the box",
        ),
    ],
)
def test_a_card_without_a_row_is_put_among_those_that_have_one(changes, usable_mib, words):
    gpu = dataclasses.replace(find_gpu("a10"), id="x1", sm_count=100, **changes)
    memory = gpu_memory(gpu)
    assert memory.usable_bytes_range == tuple(mib * MIB for mib in usable_mib)
    assert (memory.context_bytes, memory.context_bytes_range) == (390 * MIB, (250 * MIB, 560 * MIB))
    assert words in memory.source


def test_a_small_card_has_the_context_of_the_smallest_that_was_read():
    small = dataclasses.replace(find_gpu("a10"), id="x1", sm_count=10)
    as_small = dataclasses.replace(small, sm_count=module.FEWEST_SM)
    assert gpu_memory(small) == gpu_memory(as_small)


def test_a_card_of_which_nothing_is_known_is_refused():
    gpu = dataclasses.replace(find_gpu("a10"), id="x1", name="NVIDIA X1", sm_count=None)
    with pytest.raises(NotPossibleError, match=r"^no source gives the CUDA context of NVIDIA X1"):
        gpu_memory(gpu)

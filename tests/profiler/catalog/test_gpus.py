"""Tests of the GPU data: units, ranges and cross-checks between columns; and of finding a GPU by name."""

import csv
import re
from importlib import resources
from pathlib import Path

import pytest

from profiler.catalog import find_gpu, gpus
from profiler.catalog.gpus import gpu_by_driver_name
from profiler.errors import UsageError

ALL = list(gpus().values())
each_gpu = pytest.mark.parametrize("gpu", ALL, ids=lambda gpu: gpu.id)

# Lanes that multiply and add in fp32, per multiprocessor and cycle.
LANES = {
    "Pascal": {64}, "Volta": {64}, "Turing": {64}, "Ampere": {64, 128}, "Ada Lovelace": {128},
    "Hopper": {128}, "Blackwell": {128}, "Blackwell Ultra": {128},
    "CDNA2 (gfx90a)": {64}, "CDNA3 (gfx942)": {128}, "RDNA3 (gfx1100)": {128},
}  # fmt: skip
CAPABILITIES = {
    "Pascal": {"6.0"}, "Volta": {"7.0"}, "Turing": {"7.5"}, "Ampere": {"8.0", "8.6"}, "Ada Lovelace": {"8.9"},
    "Hopper": {"9.0"}, "Blackwell": {"10.0", "12.0"}, "Blackwell Ultra": {"10.3"},
}  # fmt: skip
# Drivers give these names to cards of two memory sizes.
SHARED_NAMES = {"NVIDIA GeForce RTX 3080": {"rtx-3080-10gb", "rtx-3080-12gb"}}


def ratio(above, below):
    return None if above is None or below is None else above / below


def test_the_file_has_one_row_per_id():
    text = resources.files("profiler.catalog").joinpath("gpus.csv").read_text(encoding="utf-8")
    ids = [row["id"] for row in csv.DictReader(text.splitlines())]
    assert len(ids) == len(set(ids)) == len(ALL) > 50
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", gpu_id) for gpu_id in ids)


@each_gpu
def test_text_columns(gpu):
    assert gpu.vendor in ("NVIDIA", "AMD")
    assert gpu.architecture in LANES
    assert gpu.name.strip()
    assert len(gpu.source) > 10
    assert gpu.pcie is None or re.fullmatch(r"[3-6]\.0x(8|16)", gpu.pcie)
    assert gpu.checked in (1, 2)


@each_gpu
def test_compute_capability(gpu):
    if gpu.vendor == "NVIDIA":
        assert gpu.compute_capability in CAPABILITIES[gpu.architecture]
    else:
        assert gpu.compute_capability is None


@pytest.mark.parametrize(
    ("column", "lowest", "highest"),
    [
        ("nominal_gib", 8, 300),
        ("bandwidth_gb_s", 150, 10_000),
        ("sm_count", 8, 400),
        ("l2_mib", 1, 200),
        ("boost_clock_mhz", 1000, 3000),
        ("tdp_w", 50, 1500),
        ("fp32_tflops", 4, 200),
        ("tf32_tflops_dense", 5, 1500),
        ("fp16_tflops_dense", 15, 3000),
        ("bf16_tflops_dense", 15, 3000),
        ("fp8_tflops_dense", 50, 6000),
        ("int8_tops_dense", 30, 6000),
        ("nvlink_gb_s", 50, 2000),
    ],
)
def test_ranges(column, lowest, highest):
    values = {gpu.id: getattr(gpu, column) for gpu in ALL if getattr(gpu, column) is not None}
    assert {gpu_id: value for gpu_id, value in values.items() if not lowest <= value <= highest} == {}
    assert len(values) > 10


@each_gpu
def test_figures_that_no_row_may_lack(gpu):
    assert gpu.fp32_tflops is not None
    assert gpu.sm_count is not None
    assert gpu.tdp_w is not None or gpu.id == "mi250x-gcd"  # half of a module, whose power is the whole's


@each_gpu
def test_memory_is_near_the_number_on_the_box(gpu):
    if gpu.memory_mib is not None:
        assert 0.85 * 1024 * gpu.nominal_gib <= gpu.memory_mib <= 1.02 * 1024 * gpu.nominal_gib


@pytest.mark.parametrize("gpu", [gpu for gpu in ALL if gpu.boost_clock_mhz], ids=lambda gpu: gpu.id)
def test_fp32_is_what_the_multiprocessors_can_do(gpu):
    """Two operations per lane and cycle, at the boost clock."""
    lanes = gpu.fp32_tflops * 1e6 / (2 * gpu.sm_count * gpu.boost_clock_mhz)
    assert any(lanes == pytest.approx(expected, rel=0.03) for expected in LANES[gpu.architecture])


@each_gpu
def test_ratios_between_dense_peaks(gpu):
    """A rate that someone took from a sheet with sparsity is off by two here."""
    half = gpu.fp16_tflops_dense
    if half is None:
        assert gpu.bf16_tflops_dense is gpu.fp8_tflops_dense is gpu.int8_tops_dense is None
        return
    assert half >= gpu.fp32_tflops
    if gpu.architecture in ("Pascal", "RDNA3 (gfx1100)"):
        assert half / gpu.fp32_tflops == pytest.approx(2, rel=0.02)
    assert ratio(gpu.bf16_tflops_dense, half) in (None, 1)
    assert ratio(gpu.tf32_tflops_dense, half) in (None, pytest.approx(0.5, rel=0.03))
    assert ratio(gpu.fp8_tflops_dense, half) in (None, pytest.approx(2, rel=0.03))
    if gpu.id != "b300-sxm-288gb":  # its int8 units were cut, and the sources disagree
        fold = 4 if "GeForce" in gpu.name else 2  # GeForce halves the fp32-accumulate rate, not that of int8
        assert ratio(gpu.int8_tops_dense, half) in (None, pytest.approx(fold, rel=0.03))


@each_gpu
def test_tensor_peak_is_a_known_multiple_of_fp32(gpu):
    """Dense 16-bit over fp32, by the form of the chip; GeForce and its kin have half the rate."""
    if gpu.fp16_tflops_dense is None or gpu.vendor != "NVIDIA" or gpu.architecture == "Pascal":
        return
    fold = gpu.fp16_tflops_dense / gpu.fp32_tflops
    capability = float(gpu.compute_capability)
    if capability in (7.0, 7.5):
        assert fold == pytest.approx(4 if "GeForce" in gpu.name else 8, rel=0.02)
    elif capability == 8.0:
        assert fold == pytest.approx(16, rel=0.02)
    elif capability in (8.6, 8.9, 12.0):
        halved = "GeForce" in gpu.name or gpu.id in ("a10g", "l20", "l40")
        assert fold == pytest.approx(2 if halved else 4, rel=0.04)
    else:  # data-centre parts, whose tensor clock is not the boost clock; the H20 is cut down
        assert 13 < fold < 32 or gpu.id == "h20"


@each_gpu
def test_formats_are_those_of_the_architecture(gpu):
    if gpu.vendor != "NVIDIA":
        return
    capability = float(gpu.compute_capability)
    if capability < 8:
        assert gpu.bf16_tflops_dense is gpu.tf32_tflops_dense is None
    if capability < 8.9:
        assert gpu.fp8_tflops_dense is None


@each_gpu
def test_two_witnesses_are_named_where_two_are_claimed(gpu):
    if gpu.checked == 2:
        parts = dict(part.split(":", 1) for part in gpu.source.split(" | "))
        for claim in ("peak", "bandwidth"):
            assert len(parts[claim].split(",")) >= 2


@each_gpu
def test_every_source_is_explained_on_its_page(gpu):
    page = (Path(__file__).parents[3] / "docs" / "gpus.md").read_text(encoding="utf-8")
    parts = dict(part.split(":", 1) for part in gpu.source.split(" | "))
    for claim in ("peak", "bandwidth"):
        witnesses = re.sub(r"\(.*?\)", "", parts[claim]).split(",")
        names = [re.match(r"\s*([a-z-]*)", witness).group(1) for witness in witnesses]
        assert all(f"\n| {name} |" in page for name in names if name and name != "none"), names


@each_gpu
def test_every_name_finds_its_card_or_says_which(gpu):
    for name in (gpu.id, gpu.id.upper(), gpu.name, *gpu.aliases):
        if name in SHARED_NAMES:
            with pytest.raises(UsageError) as caught:
                find_gpu(name)
            assert all(gpu_id in str(caught.value) for gpu_id in SHARED_NAMES[name])
        else:
            assert find_gpu(name) is gpu


def test_only_known_names_are_shared():
    assert {
        gpu.name: {other.id for other in ALL if other.name == gpu.name}
        for gpu in ALL
        if sum(other.name == gpu.name for other in ALL) > 1
    } == SHARED_NAMES


@pytest.mark.parametrize(
    ("spelling", "gpu_id"),
    [
        ("RTX 4090", "rtx-4090"),
        ("GeForce RTX 4090", "rtx-4090"),
        ("nvidia_rtx-4090", "rtx-4090"),
        ("A100 80GB", "a100-sxm-80gb"),
        ("a100", "a100-sxm-40gb"),
        ("h100", "h100-sxm-80gb"),
        ("NVIDIA L40S", "l40s"),
    ],
)
def test_spellings(spelling, gpu_id):
    assert find_gpu(spelling).id == gpu_id


@pytest.mark.parametrize(
    ("name", "near"), [("rtx-4091", "rtx-4090"), ("l40x", "l40s"), ("h100-sxm-80", "h100-sxm-80gb")]
)
def test_an_unknown_gpu_is_refused_with_the_nearest(name, near):
    with pytest.raises(UsageError, match=rf"unknown GPU '{name}'; did you mean .*\b{near}\b"):
        find_gpu(name)


def test_an_unknown_gpu_like_no_other_is_refused():
    with pytest.raises(UsageError, match=r"^unknown GPU 'abacus' \('sizeup gpus' lists them\)$"):
        find_gpu("abacus")


@each_gpu
def test_the_driver_finds_its_card(gpu):
    total_mib = gpu.memory_mib or gpu.nominal_gib * 1024
    assert gpu_by_driver_name(gpu.name, total_mib) is gpu
    assert gpu_by_driver_name(gpu.name.upper(), total_mib * 1.03) is gpu


@pytest.mark.parametrize(
    ("name", "memory_mib", "gpu_id"),
    [
        ("NVIDIA L40S", 46068, "l40s"),
        ("NVIDIA L40S", 49140, "l40s"),  # the same card with ECC off
        ("NVIDIA GeForce RTX 3080", 10240, "rtx-3080-10gb"),
        ("NVIDIA GeForce RTX 3080", 12288, "rtx-3080-12gb"),
        ("NVIDIA GeForce RTX 4060 Ti", 8188, None),  # the 8 GB card is not in the catalogue
        ("NVIDIA GeForce RTX 4090", 49140, None),  # a modified card
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9856, None),
        ("NVIDIA GeForce RTX 4090 D", 24564, None),
        ("", 24564, None),
        ("NVIDIA", 0, None),
    ],
)
def test_names_as_drivers_give_them(name, memory_mib, gpu_id):
    found = gpu_by_driver_name(name, memory_mib)
    assert (found.id if found else None) == gpu_id

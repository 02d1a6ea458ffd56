"""Compares the symbolic engine with virtual measurements of the same trials, drawn from a product.

    python -m benchmarks.symbolic_vs_virtual [--count N] [--seed N] [--only N ...] [--results FILE]

Each trial is one value of every factor below, drawn independently with a seed; a draw that cannot be built is
reported with the reason and not drawn again. Both engines execute loading and the same number of steps, on a
card without a limit: peaks say more than whether both run out of memory. Prints both peaks and the signed
error of the symbolic engine, then n, median, 90th percentile and worst of each tier. With `--results`, trials
that the file holds already are not run again.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.published.scoring import Summary, signed_error
from benchmarks.virtual_trials import measure, peak_bytes
from estimators.memory import estimate_memory
from estimators.symbolic.tracer import Tracer, steps_of
from estimators.target import Target
from profiler.catalog import find_gpu
from profiler.errors import NotPossibleError, UsageError
from profiler.measurement import Outcome, Reason
from profiler.spec import TrialSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from profiler.catalog import GpuFacts

GPUS = ("t4", "rtx-4090", "h100-sxm")
MODELS = (
    "smollm2-135m", "qwen2.5-0.5b", "llama-3.2-1b", "gemma-3-1b", "qwen3-1.7b", "gemma-2-2b", "phi-4-mini",
    "llama-3.2-3b", "mistral-7b-v0.3", "qwen2.5-7b", "llama-3.1-8b", "gpt2-large", "opt-1.3b", "pythia-1.4b",
    "bloom-1b7", "falcon-7b", "bert-large-uncased", "roberta-base", "deberta-v3-base", "modernbert-base",
    "t5-large", "flan-t5-xl", "vit-large", "dinov2-large",
)  # fmt: skip
_LINEAR = {"target_modules": "all-linear"}
METHODS: tuple[dict[str, Any], ...] = (
    *({"method": "full"},) * 3,
    {"method": "lora"},
    {"method": "lora", "method_options": {"r": 32, **_LINEAR}},
    {"method": "dora", "method_options": _LINEAR},
    {"method": "qlora", "method_options": _LINEAR},
    {"method": "qlora", "double_quant": True, "method_options": _LINEAR},
    {"method": "lora", "quantization": "int8", "method_options": _LINEAR},
    {"method": "ia3"},
    {"method": "prefix-tuning"},
    {"method": "prompt-tuning"},
    {"method": "p-tuning"},
    {"method": "oft", "method_options": _LINEAR},
    {"method": "loha", "method_options": _LINEAR},
    {"method": "adalora"},
    {"method": "vera", "method_options": _LINEAR},
    {"method": "bitfit"},
    {"method": "freeze"},
    {"method": "head"},
    {"method": "ln-tuning"},
)
LENGTHS: tuple[dict[str, Any], ...] = (
    {"sequence_length": 128},
    {"sequence_length": 500},
    {"sequence_length": 1024},
    {"sequence_length": 2048},
    {"lengths": [384, 1000, 640, 128]},
    {"lengths": {"64": 5, "200": 3, "480": 2, "1000": 1}},
    {"lengths": {"64": 5, "200": 3, "480": 2}, "packing": True, "sequence_length": 1024},
)
OPTIMIZERS = (
    "adamw", "adamw", "adamw-fused", "adamw-8bit", "paged-adamw-8bit", "adafactor", "lion", "sgd",
)  # fmt: skip
PRODUCT: dict[str, tuple[Any, ...]] = {
    "model": MODELS,
    "batch_size": (1, 2, 4, 8),
    "gradient_accumulation": (1, 1, 2),
    "gradient_checkpointing": ("none", "full"),
    "reentrant": (False, True),
    "padding_mask": (True, False),
    "attention": ("auto", "auto", "eager", "sdpa-math", "sdpa-efficient"),
    "precision": ("bf16", "bf16", "fp16", "fp32", "amp-bf16", "amp-fp16"),
    "optimizer": OPTIMIZERS,
    "max_grad_norm": (1.0, 0.0),
    "loop": ("trainer", "raw", "function"),
    "allocator": ("default", "default", "expandable"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=40, help="trials to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the trials to run")
    parser.add_argument("--results", type=Path, help="file of results, one JSON object a line")
    options = parser.parse_args()
    results = _read(options.results, options.seed)
    with Tracer(jobs=1) as tracer:
        for number in options.only or range(options.count):
            if (result := results.get(number)) is None:
                result = results[number] = compare(number, *drawn(options.seed, number), tracer)
                _append(options.results, {"seed": options.seed, **result})
            print(_line(result), flush=True)
    print("\n".join(summary_lines([results[number] for number in options.only or range(options.count)])))


def drawn(seed: int, number: int) -> tuple[dict[str, Any], str]:
    """Return the settings and the GPU of one trial of a seed; it does not depend on how many are drawn."""
    chance = random.Random(f"{seed} {number}")
    settings = {name: chance.choice(values) for name, values in PRODUCT.items()}
    return {**settings, **chance.choice(METHODS), **chance.choice(LENGTHS)}, chance.choice(GPUS)


def compare(number: int, settings: dict[str, Any], gpu_id: str, tracer: Tracer) -> dict[str, Any]:
    """Return the peaks of both engines for a trial, or why an engine has none, as plain JSON values."""
    gpu = find_gpu(gpu_id)
    result: dict[str, Any] = {"number": number, "gpu": gpu_id, "settings": settings}
    try:
        spec = TrialSpec.parse(settings)
    except UsageError as error:
        return {**result, "refused": str(error)}
    return {
        **result,
        "label": str(spec),
        "symbolic": _symbolic(spec, gpu, tracer),
        "virtual": _virtual(spec, gpu),
    }


def _symbolic(spec: TrialSpec, gpu: GpuFacts, tracer: Tracer) -> dict[str, Any]:
    try:
        estimate = estimate_memory(tracer.trace(spec, Target.of(gpu)), spec, gpu)
    except NotPossibleError as error:
        return {"refused": str(error)}
    return {"allocated": estimate.peak_allocated_bytes, "reserved": estimate.peak_reserved_bytes}


def _virtual(spec: TrialSpec, gpu: GpuFacts) -> dict[str, Any]:
    measurement = measure(spec, gpu, steps=steps_of(spec))
    if measurement.outcome is not Outcome.OK:
        kind = "refused" if measurement.reason is Reason.NOT_POSSIBLE else "failed"
        return {kind: measurement.message}
    return {tier: peak_bytes(measurement, tier) for tier in ("allocated", "reserved")}


def is_compared(result: dict[str, Any]) -> bool:
    """Whether both engines gave peaks."""
    return all("allocated" in result.get(engine, ()) for engine in ("symbolic", "virtual"))


def summary_lines(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines about the errors of each tier, and about what was not compared."""
    compared = [result for result in results if is_compared(result)]
    infeasible = [result for result in results if _is_refused(result)]
    yield (
        f"{len(results)} drawn: {len(compared)} compared, {len(infeasible)} infeasible, "
        f"{len(results) - len(compared) - len(infeasible)} of which the engines disagree whether they are"
    )
    for tier in ("allocated", "reserved") if compared else ():
        errors = Summary.of([_error(result, tier) for result in compared])
        yield (
            f"{tier:9} n {errors.rows}  median {errors.median:.2%}  p90 {errors.p90:.2%}"
            f"  worst {errors.worst:.2%}"
        )


def _is_refused(result: dict[str, Any]) -> bool:
    return "refused" in result or all("refused" in result[engine] for engine in ("symbolic", "virtual"))


def _error(result: dict[str, Any], tier: str) -> float:
    return signed_error(result["symbolic"][tier], result["virtual"][tier])


def _line(result: dict[str, Any]) -> str:
    head = f"{result['number']:3} {result['gpu']:9}"
    if "refused" in result:
        return f"{head} infeasible: {result['refused']}"
    if is_compared(result):
        tiers = " ".join(
            f"{tier} {result['virtual'][tier] / 2**30:8.3f} GiB {_error(result, tier):+7.2%} "
            for tier in ("allocated", "reserved")
        )
        return f"{head} {tiers} {result['label']}"
    said = "; ".join(f"{engine}: {_said(result[engine])}" for engine in ("symbolic", "virtual"))
    return f"{head} {'infeasible' if _is_refused(result) else 'DISAGREE'}: {result['label']}: {said}"


def _said(answer: dict[str, Any]) -> str:
    return next((f"{kind}, {answer[kind]}" for kind in ("refused", "failed") if kind in answer), "ran")


def _read(path: Path | None, seed: int) -> dict[int, dict[str, Any]]:
    if path is None or not path.exists():
        return {}
    results: Iterable[dict[str, Any]] = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {result["number"]: result for result in results if result["seed"] == seed}


def _append(path: Path | None, result: dict[str, Any]) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    sys.exit(main())

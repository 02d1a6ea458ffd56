"""What the harness adds to a trial beyond its steps: start, import, build, passes that are not timed, write.

    python benchmarks/harness_overhead.py

Runs a tiny trial several times on the CPU and prints medians in seconds, next to a budget that says when a
change has slowed it. The first trial pays for imports once; later ones are forked.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from profiler.devices import find_device
from profiler.harness import Harness, MeasurementProtocol
from profiler.spec import TrialSpec
from profiler.store import Store

TINY_LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256,
    "max_position_embeddings": 256,
}  # fmt: skip
BUDGET_SECONDS = {
    "import (once)": 15.0,
    "fork to build": 0.2,
    "build": 0.5,
    "other passes": 1.0,
    "write": 0.1,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    trials = parser.parse_args().trials
    protocol = MeasurementProtocol(
        warmup_min_steps=1, warmup_min_seconds=0, timed_min_steps=3, timed_min_seconds=0
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(TINY_LLAMA))
        spec = TrialSpec.parse({"model": folder, "sequence_length": 16, "precision": "fp32"})
        with Store.open(Path(folder, "store.db")) as store, Harness(find_device("cpu"), protocol) as harness:
            rows, write_seconds = [], []
            for _ in range(trials + 1):
                row = harness.measure(spec)
                if row.outcome != "ok":
                    sys.exit(f"the trial did not end well: {row.message}")
                rows.append({**row.figures, "steps": sum(row.step_seconds)})
                started = time.perf_counter()
                store.add(row)
                write_seconds.append(time.perf_counter() - started)
    later = rows[1:]
    seconds = {
        "import (once)": rows[0]["start_seconds"],
        "fork to build": statistics.median(row["start_seconds"] for row in later),
        "build": statistics.median(row["load_seconds"] for row in later),
        "other passes": statistics.median(
            row["trial_seconds"] - row["start_seconds"] - row["load_seconds"] - row["steps"] for row in later
        ),
        "write": statistics.median(write_seconds[1:]),
    }
    print(f"{'part':<16}{'seconds':>10}{'budget':>10}")
    for part, value in seconds.items():
        over = "  over budget" if value > BUDGET_SECONDS[part] else ""
        print(f"{part:<16}{value:>10.3f}{BUDGET_SECONDS[part]:>10.1f}{over}")


if __name__ == "__main__":
    main()

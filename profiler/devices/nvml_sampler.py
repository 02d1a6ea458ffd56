"""The process of a `Sampler`: it looks at a GPU until its standard input ends, and then says what it saw."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
from dataclasses import asdict

from profiler.devices.nvml import SAMPLE_SECONDS, gpu_handle, open_nvml, take_sample
from profiler.errors import NotPossibleError


def main(index: int, process_id: int) -> None:
    """Sample the GPU with this NVML index, for a process and what runs beside it."""
    with open_nvml() as nvml:
        handle, samples = gpu_handle(nvml, index), []
        while True:
            samples.append(take_sample(nvml, handle, process_id))
            ended, _, _ = select.select([sys.stdin], [], [], SAMPLE_SECONDS)
            if ended:
                break
    lines = "".join(json.dumps(asdict(sample)) + "\n" for sample in samples)
    try:
        sys.stdout.write(lines)
        sys.stdout.flush()
    except BrokenPipeError:  # the trial failed, and nobody asks any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it exits


if __name__ == "__main__":
    with contextlib.suppress(NotPossibleError):
        main(int(sys.argv[1]), int(sys.argv[2]))

"""Says what a launcher would start: run as a file, in the user's interpreter, with the libraries of the user.

    python launcher.py torchrun|accelerate ARGUMENTS

prints one JSON object: `target` with `arguments`, `kind`, `world_size` and the `environment` that it sets.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def _torchrun(arguments: list[str]) -> dict[str, Any]:
    from torch.distributed.run import get_args_parser

    found = get_args_parser().parse_args(arguments)
    if found.no_python:
        raise SystemExit("torchrun --no-python starts no Python script")
    per_node = found.nproc_per_node
    return {
        "kind": "module" if found.module else "script",
        "target": found.training_script,
        "arguments": found.training_script_args,
        # "auto" and "gpu" mean what is there; of a range of nodes, the most count.
        "world_size": (int(per_node) if per_node.isdigit() else 1) * int(str(found.nnodes).split(":")[-1]),
        "environment": {},
    }


def _accelerate(arguments: list[str]) -> dict[str, Any]:
    from accelerate.commands import launch
    from accelerate.utils import launch as environments

    found = launch.launch_command_parser().parse_args(arguments)
    found, _, _ = launch._validate_launch_command(found)
    if found.no_python:
        raise SystemExit("accelerate launch --no_python starts no Python script")
    world_size = found.num_processes or 1
    if found.use_deepspeed:
        _, environment = environments.prepare_deepspeed_cmd_env(found)
    elif found.use_fsdp or found.multi_gpu or world_size > 1:
        environment = environments.prepare_multi_gpu_env(found)
    else:
        _, environment = environments.prepare_simple_launcher_cmd_env(found)
    return {
        "kind": "module" if found.module else "script",
        "target": found.training_script,
        "arguments": found.training_script_args,
        "world_size": world_size,
        "environment": {name: value for name, value in environment.items() if os.environ.get(name) != value},
    }


if __name__ == "__main__":
    launcher, *given = sys.argv[1:]
    del sys.path[0]
    print(json.dumps({"torchrun": _torchrun, "accelerate": _accelerate}[launcher](given)))  # noqa: T201

"""Which GPUs a build of torch has code for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def runs_on(architectures: Sequence[str], major: int, minor: int) -> bool:
    """Whether a build of torch has code for a GPU.

    Machine code (`sm_86`) runs on later minor versions of its major version; `compute_90` is compiled for any
    later GPU as it starts (CUDA C++ Programming Guide, sections on binary and PTX compatibility).

    Args:
        architectures: What torch was built for.
        major: Compute capability of the GPU, before the dot.
        minor: After it.
    """
    return newest_code_for(architectures, major, minor) is not None


def newest_code_for(architectures: Sequence[str], major: int, minor: int) -> tuple[int, int] | None:
    """Return the newest of the architectures whose code runs on a GPU, or None.

    It takes what `runs_on` takes.
    """
    found = []
    for architecture in architectures:
        kind, _, digits = architecture.partition("_")
        if not digits.isdecimal():
            continue  # sm_90a and the like are for exactly one GPU, and come beside the plain one
        built_major, built_minor = divmod(int(digits), 10)
        is_older = (built_major, built_minor) <= (major, minor)
        if is_older and (kind == "compute" or (kind == "sm" and built_major == major)):
            found.append((built_major, built_minor))
    return max(found, default=None)

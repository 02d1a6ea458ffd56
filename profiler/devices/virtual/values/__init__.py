"""Values on a virtual GPU where shapes need them: integers and booleans are computed, in its own memory.

Kernels of a virtual GPU do nothing. For the operators that make masks, lengths, labels, positions and counts,
`install` puts kernels in their place that run the original, so that memory is allocated as on a real GPU,
and then compute the integers on the CPU. They are kernels of the dispatcher, not a mode: what is traced,
compiled or differentiated is what it is without them, and every thread has them. Floating-point data is
absent: it reads as zeros, and what was assumed of it is told by `Handle.notes`.

Not computed are values inside compiled code and other kernels that are not ATen's.

The package is also loaded by path into processes of users, so it imports nothing of ours by name.
"""

from __future__ import annotations

import atexit
import functools
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Handle:
    """The installed kernels."""

    def __init__(self, library: torch.library.Library) -> None:
        self._library = library  # its end would be theirs

    def notes(self) -> tuple[str, ...]:
        """Return what was assumed of values that are not there: sentences, each once, in order."""
        from . import notes

        return notes.assumptions()

    def forget_notes(self) -> None:
        """Start anew with the notes."""
        from . import notes

        notes.forget()


@functools.cache
def install() -> Handle:
    """Put the kernels in place, for as long as the process lives; returns the same handle every time.

    The process must have been started on a virtual GPU: on a real one, device memory cannot be read so.
    """
    from torch.library import Library

    from .operators import replacements
    from .threads import wait_for_rest

    library = Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that kernels are overridden
        for name, kernel in list(replacements()):
            library.impl(name, kernel, "CUDA", with_keyset=True)  # type: ignore[no-untyped-call]
    atexit.register(wait_for_rest)
    return Handle(library)

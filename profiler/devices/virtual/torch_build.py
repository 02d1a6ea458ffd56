"""The CUDA build of torch that is installed, looked at without importing it."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from profiler.environment import package_version, torch_cuda_version
from profiler.errors import NotPossibleError

# The CUDA versions whose interfaces `c/` was written against.
KNOWN_CUDA_MAJORS = (13,)


@dataclass(frozen=True, kw_only=True)
class TorchBuild:
    """A CUDA build of torch and what its wheels bring."""

    torch_version: str
    cuda_version: str
    include_folders: tuple[Path, ...]
    """Folders of CUDA's headers, in the order in which a compiler must search them."""
    library_folders: tuple[Path, ...]
    """Folders of CUDA's libraries."""

    def library(self, name: str) -> Path:
        """Return the path of a library, such as `libcudart`; its name on disk ends with its major version.

        Raises:
            NotPossibleError: If torch's wheels do not bring it.
        """
        for folder in self.library_folders:
            for path in sorted(folder.glob(f"{name}.so.*")):
                return path
        raise NotPossibleError(
            f"torch {self.torch_version} was installed without {name}, which a virtual GPU stands in for: "
            "install torch from its wheels"
        )


@functools.cache
def torch_build() -> TorchBuild:
    """Return the installed build.

    Raises:
        NotPossibleError: If this is not Linux, there is no CUDA build of torch, its CUDA version is not
            known, or it was installed without CUDA's headers; a sentence says which.
    """
    if sys.platform != "linux":
        raise NotPossibleError(f"a virtual GPU needs Linux, and this is {sys.platform}")
    torch_version, cuda_version = package_version("torch"), torch_cuda_version()
    spec = importlib.util.find_spec("torch")
    if torch_version is None or spec is None or spec.origin is None:
        raise NotPossibleError("a virtual GPU needs torch, which is not installed")
    if cuda_version is None:
        raise NotPossibleError(
            f"a virtual GPU needs a CUDA build of torch, and torch {torch_version} is built without"
        )
    if int(cuda_version.partition(".")[0]) not in KNOWN_CUDA_MAJORS:
        known = " or ".join(str(major) for major in KNOWN_CUDA_MAJORS)
        raise NotPossibleError(
            f"a virtual GPU knows CUDA {known}, and torch {torch_version} is built for CUDA {cuda_version}"
        )
    site = Path(spec.origin).parents[1]
    # Triton's copy comes last: it may be of another CUDA version, and is there for crt/ alone.
    includes = (*sorted(site.glob("nvidia/*/include")), site / "triton/backends/nvidia/include")
    build = TorchBuild(
        torch_version=torch_version,
        cuda_version=cuda_version,
        include_folders=includes,
        library_folders=tuple(sorted(site.glob("nvidia/*/lib"))),
    )
    for header in ("cuda_runtime_api.h", "crt/host_defines.h", "cublas_v2.h", "cudnn_version.h", "nccl.h"):
        if not any((folder / header).exists() for folder in includes):
            raise NotPossibleError(
                f"torch {torch_version} was installed without CUDA's {header}, which a virtual GPU is "
                "compiled with: install torch from its wheels"
            )
    return build


def architectures_of_torch() -> tuple[str, ...]:
    """Return what the installed torch was compiled for, such as `sm_86`; imports it in a process of its own.

    Raises:
        NotPossibleError: If torch cannot be imported.
    """
    # torch.cuda.get_arch_list is empty on machines without a GPU, although the flags are those of the build.
    code = "import torch; print(torch._C._cuda_getArchFlags())"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise NotPossibleError(f"a virtual GPU needs torch, which cannot be imported: {lines[-1].strip()}")
    return tuple(done.stdout.split())

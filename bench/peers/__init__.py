"""The contenders: one module each, named after what it drives.

A module is imported only inside the contender's own process (`bench.worker`). It offers

- `start(threads)`, which sets the size of the library's thread pool, and `describe()`, its version;
- one function per task it can do, named after the task (`knn`, `mmd`, …; see `bench.cases`).
  Called as `task(case, arrays, threads)` it converts the arrays, untimed, and returns the call to
  be timed;
- `<task>_prebuilt` where the library has an index that is built once and queried often.

Every module does the work as a careful user of that library would: in chunks where one matrix
would be too large or slower, in place where that is the idiom, but with its public functions only.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Contender -> the distribution pip installs for it.
DISTRIBUTIONS = {
    "pairtile": "pairtile",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "faiss": "faiss-cpu",
    "torch": "torch",
    "pot": "POT",
    "dcor": "dcor",
    "prdc": "prdc",
    "pml": "pytorch-metric-learning",
    "ckdtree": "scipy",
    "kdtree": "scikit-learn",
    "balltree": "scikit-learn",
    "numpy_serial": "numpy",
    "pairtile_float64": "pairtile",
    "pairtile_cuda": "pairtile",
}
# Contender -> what it imports, where that is not its own name.
MODULES = {
    "pot": "ot",
    "pml": "pytorch_metric_learning",
    "ckdtree": "scipy",
    "kdtree": "sklearn",
    "balltree": "sklearn",
    "numpy_serial": "numpy",
    "pairtile_float64": "pairtile",
    "pairtile_cuda": "cupy",
}
# Shown beside the others and never "the best peer": fewer threads, or ourselves.
OUTSIDE = ("numpy_serial", "pairtile_float64", "pairtile_cuda")
# Contender -> its tasks, where it enters only when asked for by name.
ON_REQUEST = {"pairtile_cuda": ("knn", "hamming", "fidelity", "mmd", "permutation", "energy")}


def in_files(*arrays: NDArray[Any]) -> tuple[list[NDArray[Any]], TemporaryDirectory[str]]:
    """The same arrays mapped from files, and their folder, which goes when nobody holds it."""
    folder = TemporaryDirectory()
    maps = []
    for at, array in enumerate(arrays):
        file = Path(folder.name, f"{at}.npy")
        np.save(file, array)
        maps.append(np.load(file, mmap_mode="r"))
    return maps, folder


def distribution_version(contender: str) -> str:
    """Return the installed version, or "source tree" where it was put on the path by hand."""
    try:
        return version(DISTRIBUTIONS[contender])
    except PackageNotFoundError:
        return "source tree"

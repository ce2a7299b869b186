"""Which implementation serves a call: the compiled engine, the NumPy fallback or CUDA.

Second station of each public function: arrays are validated (`validate`), then `module(...)`
hands back the module whose functions do the work. `pairtile._native`, `numpy` and `cuda` export the
same names with the same signatures (see `_native.pyi`).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.rows import Rows
from pairtile._front.threads import resolve_workers

if TYPE_CHECKING:
    from types import ModuleType

_MODULES = {
    "native": "pairtile._native",
    "numpy": "pairtile._backends.numpy",
    "cuda": "pairtile._backends.cuda",
}
_NAMES = (*_MODULES, "auto")

# The module for arrays in host memory, and its name.
_active: tuple[str, ModuleType]


def _load(name: str) -> ModuleType | None:
    """The backend's module; None where it was not built, while a broken one raises."""
    path = _MODULES[name]
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if name != "cuda" and error.name != path:
            raise
        return None  # for CUDA also when CuPy, which owns its memory, is not installed


def set_backend(name: str) -> None:
    """Choose what computes from now on, in every thread of the process.

    Parameters
    ----------
    name : {"native", "numpy", "cuda", "auto"}
        The compiled engine, the NumPy fallback, the GPU, or the best there is for arrays in
        host memory: native where it was built, else numpy. CUDA arrays always run on CUDA.
        The environment variable ``PAIRTILE_BACKEND`` makes the same choice at import.

    Raises
    ------
    ValueError
        If the name is not one of these.
    ImportError
        If that backend is not installed, or cannot run on this machine.
    """
    global _active
    if name not in _NAMES:
        raise ValueError(f"unknown backend {name!r}; known: {', '.join(_NAMES)}")
    for candidate in ("native", "numpy") if name == "auto" else (name,):
        module = _load(candidate)
        if module is not None:
            if candidate == "cuda" and not module.device_count():
                raise ImportError("the cuda backend cannot run: CUDA finds no device here")
            _active = (candidate, module)
            return
    raise ImportError(
        f"the {name} backend is not part of this installation of pairtile{_missing(name)}; "
        "pairtile.show_config() lists what is"
    )


def _missing(name: str) -> str:
    """What a backend that cannot be imported lacks, where more than itself is needed."""
    if name != "cuda":
        return ""
    if importlib.util.find_spec("pairtile._cuda") is None:
        return (
            ": it was built without its GPU module, which needs nvcc and "
            "-C cmake.define.PAIRTILE_CUDA=ON"
        )
    return ': CuPy is missing, which pip install "pairtile[cuda]" brings'


def backend() -> str:
    """Name of the backend that serves arrays in host memory: "native", "numpy" or "cuda"."""
    return _active[0]


def module(*arrays: Any) -> ModuleType:
    """The module that serves these validated arrays; `blocks` for sets not in memory."""
    for a in arrays:
        if type(a) is not np.ndarray:
            break
    else:
        return _active[1]
    if any(isinstance(a, Rows) for a in arrays):
        return importlib.import_module("pairtile._backends.blocks")
    if any(not isinstance(a, np.ndarray) for a in arrays if a is not None):
        return importlib.import_module(_MODULES["cuda"])
    return _active[1]


def over(devices: list[int] | None, *arrays: Any) -> Any:
    """`module`, or the same functions over a list of devices where there is one."""
    if devices is None:
        return module(*arrays)
    return importlib.import_module("pairtile._backends.cuda.split").Split(devices)


def host_module() -> ModuleType:
    """The best there is for arrays in host memory, whatever was chosen."""
    return _load("native") or importlib.import_module(_MODULES["numpy"])


def require_cuda(name: str) -> None:
    """TypeError naming the argument, unless CUDA arrays can be served."""
    if _load("cuda") is None:
        raise TypeError(
            f"{name} is on a CUDA device, and this installation of pairtile has no cuda backend; "
            "copy it to host memory first"
        )


def config() -> dict[str, Any]:
    """What `show_config` prints, as a dictionary."""
    from pairtile import __version__

    found = {name: _load(name) for name in _MODULES}
    native, cuda = found["native"], found["cuda"]
    return {
        "version": __version__,
        "backend": backend(),
        "backends": [name for name, loaded in found.items() if loaded is not None],
        "isa": native.isa() if native else None,
        "isas": native.isas() if native else [],
        "build": native.build_config() if native else {},
        "threads": resolve_workers(None),
        "cuda_architectures": cuda.architectures() if cuda else [],
        "numpy": np.__version__,
    }


def show_config() -> None:
    """Print version, backends, instruction sets, threads and CUDA architectures."""
    for key, value in config().items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        print(f"{key.replace('_', ' '):<20}{value or '-'}")


def _start() -> None:
    wanted = os.environ.get("PAIRTILE_BACKEND", "") or "auto"
    if wanted not in _NAMES:
        raise ImportError(f"PAIRTILE_BACKEND={wanted!r}; known: {', '.join(_NAMES)}")
    set_backend(wanted)
    if wanted == "auto" and backend() == "numpy":
        warnings.warn(
            "pairtile was installed without its compiled engine: the NumPy fallback serves every "
            "call, correct but slow. With a C++20 compiler (g++ >= 11 or clang++ >= 14) on PATH, "
            "run `pip cache remove pairtile`, then install it again with --force-reinstall; or set "
            "PAIRTILE_BACKEND=numpy to say that the fallback is wanted.",
            RuntimeWarning,
            stacklevel=2,
        )


_start()

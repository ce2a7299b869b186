"""The build backend of pyproject.toml: scikit-build-core, and an honest name for the fallback.

CMakeLists.txt goes on without a compiler, and only the NumPy fallback is installed. Its wheel would
carry the tags of this Python and processor, as the compiled one does; it is pure Python, so it is
built once more as what it is, py3-none-any. Tools that keep wheels then tell the two apart.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from scikit_build_core import build
from scikit_build_core.build import *  # noqa: F403  # the other hooks of PEP 517 and PEP 660

Settings = dict[str, Any] | None


def build_wheel(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    """Name of the wheel that was written into the directory."""
    name: str = build.build_wheel(directory, settings, metadata)
    path = Path(directory, name)
    with zipfile.ZipFile(path) as wheel:
        if any(Path(entry).match("pairtile/_native.*.so") for entry in wheel.namelist()):
            return name
    path.unlink()
    pure: str = build.build_wheel(directory, (settings or {}) | {"wheel.cmake": "false"})
    return pure

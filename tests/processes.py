"""Scripts in a process of their own: what crashes, is measured or depends on the environment."""

import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pytest

# tests/sanitized.py has Python load one first.
SANITIZED = re.search(r"\blib[at]san\b", os.environ.get("LD_PRELOAD", "")) is not None

measures_memory = pytest.mark.skipif(
    SANITIZED or not Path("/proc/self/statm").exists(),
    reason="memory under a sanitizer" if SANITIZED else "needs Linux's /proc",
)

# What a script starts with that measures memory.
PEAK = """
    import numpy as np
    import pairtile as pt

    def status(field):
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024

    def growth(call):
        '''Bytes by which the peak of a call exceeds what was resident before.'''
        before = status("VmRSS")
        with open("/proc/self/clear_refs", "w") as peak:
            peak.write("5")
        call()
        return status("VmHWM") - before

    rng = np.random.default_rng(0)
"""


def run_python(script, **environment):
    """Standard output of a script in a process of its own, which must succeed."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={**os.environ, "PAIRTILE_BACKEND": "native", **environment},
        cwd=Path(__file__).parent,
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    ).stdout


def of_dcor(expressions, **arrays):
    """Values of expressions of dcor and arrays, in peace: numba beside PyTorch has aborted."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "arrays.npz")
        np.savez(file, **arrays)
        printed = run_python(
            f"""
            import json, warnings
            warnings.simplefilter("ignore")
            import dcor
            import numpy as np

            names = {{"dcor": dcor, **np.load({file!r})}}
            print(json.dumps([float(eval(text, names)) for text in {list(expressions)!r}]))
            """
        )
    return json.loads(printed)

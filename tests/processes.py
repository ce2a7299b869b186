"""Scripts in a process of their own: what crashes, is measured or depends on the environment."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")

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

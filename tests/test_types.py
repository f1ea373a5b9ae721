"""mypy over the whole package, beside the tests of the other process rather than before them."""

import subprocess
import sys
from pathlib import Path

# Nothing that mypy makes is garbage before its end: looking for some takes a seventh of its time.
MYPY = "import gc; gc.disable(); gc.enable = lambda: None; from mypy.__main__ import console_entry; console_entry()"


def test_types_agree():
    command = [sys.executable, "-c", MYPY, "--no-color-output"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

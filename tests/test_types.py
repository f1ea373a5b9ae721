"""mypy over the whole package, beside the tests of the other process rather than before them."""

import subprocess
import sys
from pathlib import Path


def test_types_agree():
    command = [sys.executable, "-m", "mypy", "--no-color-output"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

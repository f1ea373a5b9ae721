"""What the extra `ray` costs those who do not have it: seconds to import, and packages, before it came and now.

    python -m benchmarks.scale.imports [--before 9f7c4f2] [--repeats 15]

The tree of a commit is laid beside this one and both are imported in turn, each in a process of its own. Writes
benchmarks/scale/imports.md.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.machine import describe

ROOT = Path(__file__).parents[2]
STATEMENTS = (
    "import icl",
    "import icl.inference",
    "from icl import ICLRegressor",
    "from icl.commands.main import main",
)


def seconds(statement: str, folder: Path) -> float:
    environment = os.environ | {"PYTHONPATH": str(folder)}
    check = "; import sys; assert 'ray' not in sys.modules"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement + check], cwd=folder, env=environment, check=True)
    return time.perf_counter() - start


def needed(folder: Path) -> set[str]:
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set(project["dependencies"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="9f7c4f2")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as name:
        before = Path(name)
        packed = subprocess.run(["git", "archive", options.before], cwd=ROOT, check=True, stdout=subprocess.PIPE)
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tree:
            tree.extractall(before, filter="data")
        for statement in STATEMENTS:
            took: dict[Path, list[float]] = {before: [], ROOT: []}
            for _ in range(options.repeats + 1):
                for folder in took:
                    took[folder].append(seconds(statement, folder))
            old, new = (statistics.median(took[folder][1:]) for folder in (before, ROOT))
            lines.append(f"| `{statement}` | {old:.2f} | {new:.2f} |")
            print(lines[-1], flush=True)
        gone, come = needed(before) - needed(ROOT), needed(ROOT) - needed(before)
    said = (
        "the same" if not gone | come else f"gone: {', '.join(sorted(gone)) or 'none'}; new: {', '.join(sorted(come))}"
    )
    text = [
        f"`python -m benchmarks.scale.imports --before {options.before}`, median of {options.repeats} processes each, "
        f"in turn. {describe('torch', 'ray')}.",
        "",
        "| seconds | before | now |",
        "|---|--:|--:|",
        *lines,
        "",
        f"Packages that `pip install icl` brings: {said}. No statement imports ray where it is installed; "
        "what `import icl.inference` takes more is its new estimands. Asked for "
        "without it (`tests/test_scale.py`):",
        "",
        "```",
        sentence(),
        "```",
        "",
    ]
    Path(__file__).with_suffix(".md").write_text("\n".join(text), encoding="utf-8")


def sentence() -> str:
    """What is said where Ray is not installed."""
    hidden = "import sys; sys.modules['ray'] = None; from icl.scale.engines import start; start()"
    done = subprocess.run([sys.executable, "-c", hidden], cwd=ROOT, capture_output=True, text=True)
    return done.stderr.strip().splitlines()[-1]


if __name__ == "__main__":
    main()

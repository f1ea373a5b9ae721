"""Every finding of the review with hostile files, tried again on the tree as it is: what came before, what comes now.

    python -m benchmarks.hostile --out benchmarks/hostile.md

Each case of benchmarks/hostile_cases.py and hostile_low.py runs in a folder and a process of its own (forked when all
is imported), with a limit on its time; what is said is written down as it came. A case that does not hold is open.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks import hostile_low  # noqa: F401 - adds its cases
from benchmarks.child import in_child
from benchmarks.hostile_cases import CASES, Case

_SECONDS = 120  # of processor time, after which a case is given up
_SHOWN = 230  # characters of what came


def tried(case: Case, release: Path, folder: Path) -> dict:
    """What a process of its own makes of a case: what it said, whether it held, seconds, MB beyond the start."""
    folder.mkdir()

    def attempt() -> dict:
        os.chdir(folder)
        held, said = case.run(folder, release)
        return {"held": held, "said": said.replace(str(folder), ".")}

    found = in_child(attempt, _SECONDS)
    if "crashed" in found:
        found |= {"held": False, "said": "TRACEBACK " + found["crashed"].strip().splitlines()[-1]}
    return {"held": False, "said": "HANG"} | found


def report(found: list[tuple[Case, dict]], where: str) -> str:
    from icl.pages.escape import markdown

    rows = []
    for case, now in found:
        said = " ".join(now["said"].split())
        said = said if len(said) <= _SHOWN else f"{said[: _SHOWN - 4]} ..."
        cells = [case.key, case.what, case.before, markdown(said)]
        verdict = "**open**" if not now["held"] else "held" if case.key == "Held" else "mended"
        cells += [verdict, f"{now['seconds']:.1f}", f"{max(now['mb'], 0):.0f}"]
        rows.append(f"| {' | '.join(cells)} |")
    held = sum(now["held"] for _, now in found)
    return "\n".join(
        [
            "# What a hostile or unlucky file can do",
            "",
            f"`python -m benchmarks.hostile` on {where}.",
            "",
            f"Before: commit 0a7b393, as the review wrote it down. Now: what came when this was run, {held} of "
            f"{len(found)} hold. Seconds of processor time and MB beyond the imports are those of the whole case, the "
            "making of its files included.",
            "",
            "| | what was tried | before | now | | s | MB |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="keys of cases that begin so")
    parser.add_argument("--out", type=Path, help="default: show")
    options = parser.parse_args()
    import torch

    from benchmarks.fuzz_releases import whole_release
    from benchmarks.machine import describe
    from icl import ICLClassifier, ICLRegressor  # noqa: F401 - imported before the forks
    from icl.atomic import write_atomically

    torch.set_num_threads(1)
    out = options.out and options.out.absolute()
    with tempfile.TemporaryDirectory() as name:
        release = whole_release(Path(name) / "release")
        found = []
        for k, case in enumerate(CASES):
            if case.key.startswith(options.only):
                found.append((case, tried(case, release, Path(name) / str(k))))
                print(case.key, "held" if found[-1][1]["held"] else "OPEN", found[-1][1]["said"][:150], flush=True)
    text = report(found, describe("torch", "pandas", "pyarrow"))
    write_atomically(out, text) if out else print(text)


if __name__ == "__main__":
    main()

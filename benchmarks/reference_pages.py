"""What once broke, run again: the findings of the two lists of attacks, what came before and what comes now.

python benchmarks/reference_pages.py           # writes benchmarks/reference_pages.md; about two minutes

The lists were found on commit 0a7b393; "before" quotes them. "Now" is what such lines give today: an answer with the
codes of its findings, or the words of the refusal. Rates with their errors stand in the files that are named.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy

from reference_inference import INFERENCE
from reference_inputs import INPUTS

LONGEST = 330
HEAD = """# What once broke, run again

Written by `benchmarks/reference_pages.py`. Before: as it was found on commit 0a7b393. Now: what the same kind of lines
gives with the code beside this file; in brackets the codes of the findings that are reported. Refusals and warnings are
quoted, cut after {longest} letters.
"""


def say(run: Callable[[], str]) -> str:
    """What comes out, on one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those that are looked for are caught where they are
        try:
            text = run()
        except (ValueError, TypeError) as reason:
            text = f"{type(reason).__name__}: {reason}"
        except Exception as reason:  # a crash is a result here, and a bad one
            text = f"CRASH {type(reason).__name__}: {reason}"
    text = " ".join(text.split()).replace("|", "/")
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="run the findings whose name contains this; others stay as they are")
    only = parser.parse_args().only
    page = Path(__file__).with_suffix(".md")
    known = page.read_text(encoding="utf-8").splitlines() if only and page.is_file() else []
    lines = [HEAD.format(longest=LONGEST)]
    for title, entries in (("Intervals", INFERENCE), ("Inputs", INPUTS)):
        lines += [f"## {title}", "", "| finding | before | now |", "|---|---|---|"]
        for name, before, run in entries:
            head = f"| {name} | {before} | "
            kept = [] if only in name else [line for line in known if line.startswith(head)]
            lines.append(kept[0] if kept else f"{head}{say(run)} |")
            print(lines[-1], flush=True)
        lines.append("")
    page.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()

"""CPU seconds of fit and prediction at several commits, in turn on one machine: what a change costs.

    git worktree add /tmp/before COMMIT
    python benchmarks/speed_of_commits.py --trees '{"before": "/tmp/before", "now": "."}' [--repeats 3]

Writes OUT. Every tree is imported by a process of its own, which holds its weights; the processes take turns, one
thread each, and seconds are of the processor, so that other work on the machine counts little. The first turn of each
shape is thrown away, and shapes of less than a second get up to five times as many. A tree whose `ICLClassifier` does
not know an argument of a setting is left out there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]

# context rows, columns, query rows: the four of speed.md that a default answers from its own columns and members.
SHAPES = [(200, 5, 200), (500, 10, 250), (1000, 20, 1000), (1000, 50, 500)]
SETTINGS = {"by default": {}, "the network alone, four members": {"companions": [], "n_estimators": 4}}


def serve(tree: str) -> None:
    """Worker: a shape and keyword arguments from stdin, CPU seconds to stdout, or null where they are not taken."""
    sys.path.insert(0, tree)
    os.chdir(tree)
    warnings.simplefilter("ignore")
    import torch
    from sklearn.datasets import make_classification

    from icl import ICLClassifier

    if Path(sys.modules["icl"].__file__).parents[1].resolve() != Path(tree).resolve():
        sys.exit(f"Imported {sys.modules['icl'].__file__} where the code of {tree} was wanted.")
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        n_context, n_columns, n_query, options = json.loads(line)
        X, y = make_classification(n_context + n_query, n_columns, n_informative=max(2, n_columns // 3), random_state=0)
        try:
            estimator = ICLClassifier("base", **options)
        except TypeError:
            print("null", flush=True)
            continue
        start = time.process_time()
        estimator.fit(X[:n_context], y[:n_context]).predict_proba(X[n_context:])
        print(time.process_time() - start, flush=True)


class Tree:
    """The code and weights of one commit, in a process."""

    def __init__(self, folder: str):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONPATH", None)
        command = [sys.executable, __file__, "--serve", str(Path(folder).resolve())]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self.process.stdout.readline().strip() != "ready":
            sys.exit(f"The code in {folder} could not be imported; its message is above.")

    def seconds(self, shape: tuple, options: dict) -> float | None:
        print(json.dumps([*shape, options]), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"A process stopped at {shape} with {options}; its message is above.")
        return json.loads(line)


def measure(trees: dict[str, Tree], repeats: int) -> dict:
    """{(shape, setting): {tree: median seconds}}."""
    found: dict = {}
    for shape in SHAPES:
        for setting, options in SETTINGS.items():
            first = {name: tree.seconds(shape, options) for name, tree in trees.items()}
            seconds: dict[str, list[float]] = {name: [] for name, value in first.items() if value is not None}
            # Of what takes a tenth of a second, single turns differ by a tenth.
            for _ in range(repeats * round(min(max(1 / max(first[name] for name in seconds), 1), 5))):
                for name in seconds:
                    seconds[name].append(trees[name].seconds(shape, options))
            found[shape, setting] = {name: statistics.median(own) for name, own in seconds.items() if own}
            print(shape, setting, found[shape, setting], flush=True)
    return found


def commit(folder: str) -> str:
    done = subprocess.run(["git", "-C", folder, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "no commit"


def report(found: dict, trees: dict[str, str], repeats: int) -> str:
    from benchmarks.machine import describe

    last = list(trees)[-1]
    said = ", ".join(f"{name} is {commit(folder)}" for name, folder in trees.items())
    lines = [
        "# Seconds of a prediction, commit against commit",
        "",
        f"CPU seconds of fit + predict_proba of two classes, one thread, medians of {repeats} turns after one that "
        "does not count, up to five times as many where a turn takes less than a second; each commit with its own "
        f"weights, in its own process, in turn; {said}. "
        "`benchmarks/speed_of_commits.py`",
        "",
        describe("torch", "scikit-learn", "numpy"),
        "",
        "| context, columns, queries | setting | " + " | ".join(f"{name}, s" for name in trees) + " | "
        + " | ".join(f"{last} / {name}" for name in trees if name != last) + " |",
        "|:--|:--|" + "--:|" * (2 * len(trees) - 1),
    ]  # fmt: skip
    for (shape, setting), seconds in found.items():
        own = [f"{seconds[name]:.2f}" if name in seconds else "" for name in trees]
        ratios = [f"{seconds[last] / seconds[name]:.2f}" if name in seconds else "" for name in trees if name != last]
        lines.append(f"| {shape[0]:,} x {shape[1]}, {shape[2]:,} | {setting} | " + " | ".join([*own, *ratios]) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=json.loads, help="JSON: {name: folder of a commit's code}; the last is judged")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve)
    if not options.trees:
        parser.error('--trees is wanted, such as \'{"before": "/tmp/before", "now": "."}\'')
    found = measure({name: Tree(folder) for name, folder in options.trees.items()}, options.repeats)
    sys.path.insert(0, str(ROOT))
    options.out.write_text(report(found, options.trees, options.repeats))
    print(options.out.read_text())


if __name__ == "__main__":
    main()

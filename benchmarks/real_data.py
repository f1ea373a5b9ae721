"""Published prediction-powered studies anew: the peer's intervals, ours beside them, and coverage over many splits.

    python benchmarks/real_data.py --data ../shared/reference/ppi     # writes benchmarks/real_data.md; three minutes

The folder holds forest.npz, alphafold.npz and ppi_py_realdata_reference.json (ppi-python 0.2.3 on the same split).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from benchmarks.compare import markdown
from benchmarks.machine import describe
from icl.inference import Logistic, Mean, infer

GROUP = "phosphorylated"
METHODS = {
    "shrunk": "ours (default)",
    "synsurr": "ours, synsurr",
    "ppi++": "ours, ppi++",
    "peer": "ppi-python",
    "classical": "labels alone",
    "imputed": "imputed (invalid)",
}
TEXT = """# Published studies anew

Written by `python benchmarks/real_data.py`; {machine}.
Forest: is a plot of the Amazon deforested, predicted from satellite images; the share of deforested plots. AlphaFold:
is a residue in a disordered region, predicted from the structure; their share, and its odds ratio between residues with
and without phosphorylation. Every row has its label, so the answer from all rows is known.

## The published split

The first n rows of one permutation are labeled. `compat="ppi_py"` gives the peer's own bounds, with and without tuning
and from labels alone, to {worst:.0e}; ours differ by the t reference, the small-sample variance and a weight that is
not clipped (default, synsurr: on all rows). Width of an odds ratio: of its logarithm.

{published}

The peer's odds ratio is arithmetic on two intervals of means, each at level 1 - alpha/2 (Bonferroni). Ours is the
coefficient of `Logistic("Y", covariates=["{group}"])`, one interval for one number.

## Over {reps:,} random splits

`split`: n rows drawn without replacement are labeled, all others are not, truth is the answer from all rows. Intervals
are those of a larger population from which all rows are a sample, so they should cover *more* than nominal here: the
labeled rows are part of what they are compared with. For labels alone, the variance is then 1 - n/M of what n rows of a
large population have, M being all rows, and {expected} would be right for the three; predictions leave a smaller
share of the variance to the labeled rows and more to all rows, so more is right for them. `resampled`: rows are
drawn with replacement, n labeled and M - n not; the truth is the answer from the population they come from, and nominal
coverage is due. Monte Carlo errors at nominal: {errors}. **Bold**: more than four of them from nominal.

{coverage}

ppi-python is run through `compat="ppi_py"`. Imputation covers where the predictions happen to be right on average,
which no unlabeled row can tell.
"""


@dataclass(frozen=True)
class Study:
    """One data set and what is estimated from it; `intervals(labeled, unlabeled)` gives {method: (lower, upper)}."""

    name: str
    table: pd.DataFrame
    n: int
    level: float
    truth: float
    intervals: Callable[[pd.DataFrame, pd.DataFrame], dict[str, tuple[float, float]]]
    is_ratio: bool = False

    def halves(self, rows: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
        drawn = self.table.iloc[rows].reset_index(drop=True)
        return drawn[: self.n], drawn[self.n :].drop(columns="Y")

    def width(self, lower: float, upper: float) -> float:
        return math.log(upper / lower) if self.is_ratio else upper - lower


def share(level: float) -> Callable:
    def intervals(labeled, unlabeled):
        options = dict(labeled=labeled, unlabeled=unlabeled, predictions="Yhat", level=level)
        table = infer(Mean("Y"), **options).compare().xs("Y", level="term")
        out = {m: tuple(table.loc[m, ["lower", "upper"]].astype(float)) for m in METHODS if m in table.index}
        peer = infer(Mean("Y"), **options, compat="ppi_py").interval().iloc[0]
        return out | {"peer": tuple(peer)}

    return intervals


def odds_ratio(level: float) -> Callable:
    def intervals(labeled, unlabeled):
        options = dict(labeled=labeled, unlabeled=unlabeled, predictions="Yhat", level=level)
        table = infer(Logistic("Y", covariates=[GROUP]), **options).compare().xs(GROUP, level="term")
        out = {m: tuple(np.exp(table.loc[m, ["lower", "upper"]].astype(float))) for m in METHODS if m in table.index}
        return out | {"peer": peer_odds_ratio(labeled, unlabeled, level)[0]}

    return intervals


def peer_odds_ratio(labeled: pd.DataFrame, unlabeled: pd.DataFrame, level: float) -> tuple[tuple, list[np.ndarray]]:
    """The peer's interval of the odds ratio, and those of the two means that it is made of."""
    means = []
    for g in (0, 1):
        part = dict(labeled=labeled[labeled[GROUP] == g], unlabeled=unlabeled[unlabeled[GROUP] == g])
        result = infer(Mean("Y"), **part, predictions="Yhat", compat="ppi_py")
        means.append(result.interval(1 - (1 - level) / 2).to_numpy()[0])
    odds = [m / (1 - m) for m in means]
    return (odds[1][0] / odds[0][1], odds[1][1] / odds[0][0]), means


def studies(folder: Path) -> list[Study]:
    read = lambda name: pd.DataFrame(dict(np.load(folder / f"{name}.npz")))
    forest, alphafold = read("forest"), read("alphafold")
    p0, p1 = alphafold.groupby(GROUP)["Y"].mean()
    ratio = p1 / (1 - p1) / (p0 / (1 - p0))
    return [
        Study("forest, share", forest, 200, 0.95, float(forest["Y"].mean()), share(0.95)),
        Study("alphafold, share", alphafold, 800, 0.90, float(alphafold["Y"].mean()), share(0.90)),
        Study("alphafold, odds ratio", alphafold, 800, 0.90, float(ratio), odds_ratio(0.90), is_ratio=True),
    ]


def published_split(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    return study.halves(np.random.RandomState(0).permutation(len(study.table)))


def published(studies: list[Study], reference: dict) -> tuple[pd.DataFrame, float]:
    """A line for each study and method on the published split, and the largest distance from the peer's own bounds."""
    rows, gaps = [], []
    for study in studies:
        labeled, unlabeled = published_split(study)
        found = study.intervals(labeled, unlabeled)
        for method in METHODS:
            lower, upper = found[method]
            rows.append({"study": study.name, "method": METHODS[method], "lower": lower, "upper": upper,
                         "width": study.width(lower, upper), "truth": study.truth,
                         "covers": "yes" if lower <= study.truth <= upper else "no"})  # fmt: skip
    forest, alphafold = reference["forest"], reference["alphafold_odds_ratio"]
    labeled, unlabeled = published_split(studies[0])
    for weight, key in (("auto", "ci"), (1, "ci_lam1"), (0, "classical")):
        got = infer(Mean("Y"), labeled=labeled, unlabeled=unlabeled, predictions="Yhat", weight=weight, compat="ppi_py")
        gaps.append(np.abs(got.interval(0.95).to_numpy().ravel() - np.ravel(forest[key])).max())
    bounds, means = peer_odds_ratio(*published_split(studies[-1]), 0.9)
    gaps.append(np.abs(np.array(bounds) - alphafold["or_ci"]).max())
    gaps += [np.abs(means[g] - np.ravel(alphafold[f"mu{g}_ci"])).max() for g in (0, 1)]
    return pd.DataFrame(rows), float(max(gaps))


def coverage(study: Study, reps: int, seed: int) -> Iterator[dict]:
    M = len(study.table)
    for how in ("split", "resampled"):
        for r in range(reps):
            rng = np.random.default_rng([seed, r])
            rows = rng.permutation(M) if how == "split" else rng.integers(0, M, M)
            for method, (lower, upper) in study.intervals(*study.halves(rows)).items():
                yield {"study": study.name, "method": METHODS[method], "how": how,
                       "covered": lower <= study.truth <= upper, "width": study.width(lower, upper)}  # fmt: skip


def summarise(records: pd.DataFrame, studies: list[Study]) -> list[str]:
    lines = [
        "| study | n | nominal | method | coverage, split | coverage, resampled | median width / labels alone |",
        "|---|---|---|---|---|---|---|",
    ]
    for study in studies:
        part = records[records["study"] == study.name]
        by = part.groupby(["method", "how"]).agg(coverage=("covered", "mean"), width=("width", "median"))
        reps = len(part) / len(by)
        error = math.sqrt(study.level * (1 - study.level) / reps)
        for method in METHODS.values():
            split, resampled = by.loc[(method, "split")], by.loc[(method, "resampled")]
            is_off = abs(resampled["coverage"] - study.level) > 4 * error
            cell = f"**{resampled['coverage']:.3f}**" if is_off else f"{resampled['coverage']:.3f}"
            width = split["width"] / by.loc[(METHODS["classical"], "split"), "width"]
            cells = [
                study.name,
                study.n,
                f"{study.level:.0%}",
                method,
                f"{split['coverage']:.3f}",
                cell,
                f"{width:.2f}",
            ]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the two data sets and the reference")
    parser.add_argument("--reps", type=int, default=1_000, help="random splits of each data set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    start = time.process_time()
    both = studies(options.data)
    table, worst = published(both, json.loads((options.data / "ppi_py_realdata_reference.json").read_text()))
    records = pd.DataFrame([row for study in both for row in coverage(study, options.reps, options.seed)])
    exact = [2 * ndtr(ndtri((1 + s.level) / 2) / math.sqrt(1 - s.n / len(s.table))) - 1 for s in both]
    errors = [math.sqrt(s.level * (1 - s.level) / options.reps) for s in both]
    text = TEXT.format(
        machine=describe("numpy", "scipy", "pandas"), group=GROUP, worst=worst, reps=options.reps,
        published=markdown(table), coverage="\n".join(summarise(records, both)),
        expected=", ".join(f"{e:.3f}" for e in exact), errors=", ".join(f"{e:.4f}" for e in errors),
    )  # fmt: skip
    options.out.write_text(text + f"\n{time.process_time() - start:.0f} s of processor time, one thread.\n")
    print(text)


if __name__ == "__main__":
    main()

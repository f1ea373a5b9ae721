"""Coverage and width of posteriors by predictive resampling, and of their one-step correction; writes posterior.md.

    python benchmarks/posterior.py run --reps 100 --minutes 9      # resumable
    python benchmarks/posterior.py report

y = .3 + x + noise of variance 1. The predictor is Bayesian linear regression, drawing rows jointly: with the prior that
made the slopes its posterior is exact; with three wrong ones (a slope held at -1, at 0, noise taken for a quarter of
its variance) it is not. 90 % intervals of the slope, 200 draws.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from icl.inference import posterior

HERE = Path(__file__).parent
ROWS = HERE / "posterior.csv"
FIELDS = (
    "prior",
    "n",
    "rep",
    "believed_covers",
    "believed_width",
    "corrected_covers",
    "corrected_width",
    "exact_width",
)


class Bayes(BaseEstimator):
    """Linear regression with a normal prior of the slopes about `center`, and noise of a known variance."""

    def __init__(self, center: float = 0.0, precision: float = 1.0, noise: float = 1.0):
        self.center, self.precision, self.noise = center, precision, noise

    def fit(self, X, y):
        Z = np.column_stack([np.ones(len(X)), X])
        P = self.precision * np.eye(Z.shape[1])
        self.covariance_ = np.linalg.inv(P + Z.T @ Z / self.noise)
        self.mean_ = self.covariance_ @ (P @ np.full(Z.shape[1], self.center) + Z.T @ np.asarray(y) / self.noise)
        return self

    def draw(self, X, rng):
        beta = rng.multivariate_normal(self.mean_, self.covariance_)
        return np.column_stack([np.ones(len(X)), X]) @ beta + np.sqrt(self.noise) * rng.normal(size=len(X))


PRIORS = {
    "right": Bayes(),
    "slope held at -1": Bayes(-1.0, 20.0),
    "slope held at 0": Bayes(0.0, 20.0),
    "noise too small": Bayes(0.0, 1.0, 0.25),
}


def one(prior: str, n: int, rep: int) -> list[float]:
    rng = np.random.default_rng([n, rep])
    truth = rng.normal(size=2) if prior == "right" else np.array([0.3, 1.0])
    x = rng.normal(size=n)
    table = pd.DataFrame({"x": x, "y": truth[0] + truth[1] * x + rng.normal(size=n)})
    found = posterior("ols: y ~ x", table, PRIORS[prior], seed=rep)
    numbers: list[float] = []
    for corrected in (False, True):
        low, high = found.interval(0.9, corrected).loc["x"]
        numbers += [float(low <= truth[1] <= high), high - low]
    exact = PRIORS[prior].fit(table[["x"]], table["y"]).covariance_[1, 1]
    return [*numbers, 2 * 1.6449 * float(np.sqrt(exact))]


def run(reps: int, minutes: float) -> None:
    done = set()
    if ROWS.is_file():
        done = {(r["prior"], r["n"], r["rep"]) for r in csv.DictReader(ROWS.open())}
    end = time.process_time() + 60 * minutes
    for rep in range(reps):
        for prior in PRIORS:
            for n in (50, 100, 200):
                if (prior, str(n), str(rep)) in done:
                    continue
                if time.process_time() > end:
                    return
                numbers = [f"{v:.5g}" for v in one(prior, n, rep)]
                is_new = not ROWS.is_file()
                with ROWS.open("a", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows([FIELDS] * is_new + [[prior, n, rep, *numbers]])


def report() -> None:
    from benchmarks.machine import describe

    rows = pd.read_csv(ROWS)
    table = rows.groupby(["prior", "n"], sort=False).mean(numeric_only=True)
    counts = rows.groupby(["prior", "n"], sort=False).size()
    text = (__doc__ or "").split("\n\n")[-1].strip().replace("\n", " ")
    lines = ["# Posteriors by predictive resampling", "", text, "", describe("numpy"), ""]
    lines += ["| prior | n | repetitions | believed: coverage | width / exact | corrected: coverage | width |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for (prior, n), row in table.iterrows():
        numbers = [row["believed_covers"], row["believed_width"] / row["exact_width"]]
        numbers += [row["corrected_covers"], row["corrected_width"]]
        lines.append(f"| {prior} | {n} | {counts[prior, n]} | " + " | ".join(f"{v:.3f}" for v in numbers) + " |")
    (HERE / "posterior.md").write_text("\n".join([*lines, ""]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--reps", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=9.0, help="of CPU")
    args = parser.parse_args()
    if args.what == "run":
        run(args.reps, args.minutes)
    else:
        report()


if __name__ == "__main__":
    main()

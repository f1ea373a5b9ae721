"""Prediction intervals of nano where new rows lie elsewhere; writes benchmarks/shifted.md.

python benchmarks/shifted.py --draws 100
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy

import numpy as np

from icl import ICLRegressor

N, M, LEVEL = 150, 200, 0.9


def draw(rng: np.random.Generator, n: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Noise that grows with x: where new rows lie further right, old scores are too small."""
    x = rng.normal(size=(n, 1)) + shift
    return x, x[:, 0] + (0.3 + 0.6 * np.maximum(x[:, 0] + 0.5, 0) ** 2) * rng.normal(size=n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100)
    draws = parser.parse_args().draws
    lines = [
        "# Prediction intervals where new rows lie elsewhere", "",
        f"Nano without companions, {N} labelled rows, {M} new ones, nominal {LEVEL}, 4 folds, {draws} draws; in "
        "brackets one Monte Carlo error. Written by `benchmarks/shifted.py`.", "",
        "| shift of x, in deviations | unweighted | shift='covariate' | median width | weighted |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for shift in (0.0, 1.0, 1.3):
        covered, width = {None: [], "covariate": []}, {None: [], "covariate": []}
        for r in range(draws):
            rng = np.random.default_rng([11, r])
            (x, y), (new, truth) = draw(rng, N, 0.0), draw(rng, M, shift)
            model = ICLRegressor("nano", n_estimators=1, companions=()).fit(x, y)
            for kind in covered:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    ends = model.predict_interval(new, LEVEL, folds=4, shift=kind)
                covered[kind].append(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())
                width[kind].append(np.median(np.diff(ends, axis=1)))
        told = [f"{np.mean(v):.3f} ({np.std(v) / np.sqrt(draws):.3f})" for v in covered.values()]
        wide = [f"{np.median(v):.2f}" for v in width.values()]
        lines.append(f"| {shift} | {told[0]} | {told[1]} | {wide[0]} | {wide[1]} |")
        print(lines[-1], flush=True)
    (Path(__file__).parent / "shifted.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

"""Answers of two checkouts, compared to the last bit: for changes of structure, which must not change an answer.

    PYTHONPATH=<before> python benchmarks/unchanged.py answers before.npz
    PYTHONPATH=. python benchmarks/unchanged.py answers after.npz
    python benchmarks/unchanged.py compare before.npz after.npz

`answers` runs every estimand of the inference layer under weights, designs, standard errors and predictors: estimates,
covariance, intervals, p-values, degrees of freedom, weights, every method of `compare()`, codes of diagnostics.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


class Normal:
    """A predictor with a predictive distribution: least squares with normal errors."""

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> Normal:
        A = np.column_stack([np.ones(len(X)), X.to_numpy(dtype=float)])
        self.slopes = np.linalg.lstsq(A, y, rcond=None)[0]
        self.scale = float(np.std(y - A @ self.slopes))
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        return np.column_stack([np.ones(len(X)), X.to_numpy(dtype=float)]) @ self.slopes

    def predict_distribution(self, X: pd.DataFrame) -> Any:
        from scipy.stats import norm

        distribution = norm(self.predict(X), self.scale)
        distribution.mean = self.predict(X)
        return distribution


def table(n: int = 160, N: int = 640, seed: int = 0) -> pd.DataFrame:
    """Labeled and unlabeled rows in mixed order, with outcomes of four kinds and predictions of each."""
    rng = np.random.default_rng(seed)
    R = n + N
    x, z, e = rng.normal(size=(3, R))
    group = rng.choice(list("abc"), R)
    y = 1 + 0.5 * x + 0.8 * z + (group == "b") + (1 + 0.4 * np.abs(x)) * e
    p = 1 / (1 + np.exp(0.3 - x - 0.5 * z))
    counts = rng.poisson(np.exp(0.2 + 0.4 * x))
    kinds = np.array(["low", "mid", "top"])[np.digitize(z + 0.6 * e, [-0.5, 0.6])]
    frame = pd.DataFrame({"x": x, "z": z, "group": group, "y": y, "two": y + z, "event": (rng.random(R) < p) * 1.0})
    frame["count"], frame["kind"] = counts.astype(float), kinds
    frame["f"], frame["g"] = 0.7 * y + 0.4 * rng.normal(size=R), z + 0.5 * y + rng.normal(size=R)
    frame["p"], frame["mu"] = np.clip(p + 0.05 * e, 0.01, 0.99), np.exp(0.2 + 0.35 * x)
    low, top = 1 / (1 + np.exp(2 * z + 1)), 1 / (1 + np.exp(1 - 2 * z))
    frame["k_low"], frame["k_top"] = low, top * (1 - low)
    frame["k_mid"] = 1 - frame["k_low"] - frame["k_top"]
    frame["school"] = rng.integers(0, 40, R)
    frame["pr"] = 0.1 + 0.2 * (x > 0)
    frame["w"] = 1 + rng.random(R)
    outcomes = ["y", "two", "event", "count", "kind"]
    frame.loc[rng.permutation(R)[:N], outcomes] = np.nan
    return frame


def huber(theta: np.ndarray, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    return X * np.clip(y - X @ theta, -1.5, 1.5)[:, None]


def cases() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names and analyses."""
    from sklearn.linear_model import LogisticRegression, Ridge

    from icl.inference import (
        OLS,
        Design,
        Logistic,
        Mean,
        MEstimand,
        Multinomial,
        Poisson,
        Quantile,
        Statistic,
        infer,
    )  # fmt: skip

    d = table()
    classes = ["k_low", "k_mid", "k_top"]
    robust = MEstimand(huber, "y", ["x"], ["Intercept", "x"], intercept=True)
    correlation = Statistic(lambda t: t["y"].corr(t["x"]), "y", ["x"], n_draws=200)
    estimands: dict[str, tuple[Any, Any]] = {
        "mean": (Mean("y"), "f"),
        "share": (Mean("kind", event="top"), "k_top"),
        "groups": (Mean("y", by="group"), "f"),
        "means": (Mean(["y", "two"]), ["f", "g"]),
        "ols": (OLS("y ~ x + C(group)"), "f"),
        "columns": (OLS("y", covariates=["x", "z"]), "f"),
        "logistic": (Logistic("event ~ x"), "p"),
        "poisson": (Poisson("count ~ x"), "mu"),
        "multinomial": (Multinomial("kind ~ x"), classes),
        "median": (Quantile("y"), "f"),
        "upper": (Quantile("y", 0.85), "f"),
        "robust": (robust, "f"),
        "statistic": (correlation, "f"),
    }
    weights = {"auto", 0, 1, 0.3, "ppi++", "coordinate", "matrix", "synsurr", "recalibrated"}
    for name, (estimand, f) in estimands.items():
        for weight in sorted(weights, key=str):
            yield f"{name}, {weight}", lambda e=estimand, f=f, w=weight: infer(e, d, predictions=f, weight=w)
    designs = {
        "weights": Design(weights="w"),
        "probability": Design(probability="pr"),
        "strata": Design(strata="group"),
        "clusters": Design(clusters="school"),
        "clusters and weights": Design(clusters="school", weights="w"),
        "propensity": Design(propensity=LogisticRegression(), features=["x", "z"]),
    }
    for what, design in designs.items():
        for name in ("mean", "share", "groups", "means", "ols", "logistic", "multinomial", "median", "upper", "robust"):
            estimand, f = estimands[name]
            for weight in ("auto", "synsurr", "ppi++", 1):
                options = {"predictions": f, "weight": weight, "design": design}
                yield f"{name}, {weight}, {what}", lambda e=estimand, o=options: infer(e, d, **o)
    for kind in ("HC0", "HC1", "HC2", "HC3", "residual", "model"):
        for name in ("mean", "ols", "logistic", "multinomial"):
            estimand, f = estimands[name]
            for weight in ("auto", "ppi++", "matrix"):
                options = {"predictions": f, "weight": weight, "std_error": kind, "reference": "normal"}
                yield f"{name}, {weight}, {kind}", lambda e=estimand, o=options: infer(e, d, **o)
    for compat in ("ppi_py", "ipd"):
        for name in ("mean", "means", "columns", "logistic", "median"):
            estimand, f = estimands[name]
            for weight in ("auto", 1, 0):
                options = {"predictions": f, "weight": weight, "compat": compat}
                yield f"{name}, {weight}, {compat}", lambda e=estimand, o=options: infer(e, d, **o)
    predictors = {
        "mean": Ridge(), "groups": Ridge(), "columns": Ridge(), "means": Ridge(), "upper": Normal(),
        "share": LogisticRegression(), "logistic": LogisticRegression(), "multinomial": LogisticRegression(),
        "statistic": Ridge(),
    }  # fmt: skip
    for name, predictor in predictors.items():
        for what, design in (("plain", None), *designs.items()):
            options = {"predictor": predictor, "features": ["x", "z"], "design": design, "seed": 3}
            yield f"{name}, predictor, {what}", lambda e=estimands[name][0], o=options: infer(e, d, **o)
    labeled, unlabeled = d[d["y"].notna()], d[d["y"].isna()]
    batches = lambda: (unlabeled.iloc[i : i + 100] for i in range(0, len(unlabeled), 100))
    for name in ("mean", "groups", "columns", "logistic", "multinomial", "median"):
        estimand, f = estimands[name]
        options = {"labeled": labeled, "unlabeled": batches, "predictions": f}
        yield f"{name}, batches", lambda e=estimand, o=options: infer(e, **o)


def numbers(result: Any) -> np.ndarray:
    """Everything that a result says, in one row of numbers; the codes of its diagnostics hashed."""
    codes = "".join(sorted(d.code for d in result.diagnostics)).encode()
    compared = result.compare().drop(columns=["valid", "note"]).to_numpy(dtype=float)
    parts = [
        result.estimate, result.covariance, result.interval(0.9), result.p_value(0.2), result.correlation,
        result.weight, result.df, result.n_effective, compared, float(int.from_bytes(codes[:400], "big") % 2**50),
    ]  # fmt: skip
    return np.concatenate([np.ravel(np.asarray(part, dtype=float)) for part in parts])


def answers(path: Path) -> None:
    """Every case, as numbers or as its message; written to `path`."""
    found = {}
    for name, analyse in cases():
        try:
            found[name] = numbers(analyse())
        except ValueError as reason:
            found[name] = np.frombuffer(str(reason).encode(), dtype=np.uint8)
    np.savez_compressed(path, **found)
    print(f"{len(found)} analyses, {sum(v.dtype == np.uint8 for v in found.values())} of them refused -> {path}")


def difference(a: np.ndarray | None, b: np.ndarray | None) -> str:
    """What differs between two answers, or nothing."""
    if a is None or b is None:
        return "only in one of them"
    if np.uint8 in (a.dtype, b.dtype):
        texts = [bytes(v).decode() if v.dtype == np.uint8 else "numbers" for v in (a, b)]
        return "" if texts[0] == texts[1] else " -> ".join(texts)
    if a.shape != b.shape:
        return f"shape {a.shape} -> {b.shape}"
    if np.array_equal(a, b, equal_nan=True):
        return ""
    with np.errstate(invalid="ignore"):
        return f"up to {np.nanmax(np.abs(a - b) / np.maximum(np.abs(a), 1e-300)):.1e} of the number"


def compare(before: Path, after: Path) -> int:
    """How many cases differ; each is printed with the largest relative difference."""
    with np.load(before) as old, np.load(after) as new:
        names = sorted(set(old.files) | set(new.files))
        found = {name: difference(*(v[name] if name in v.files else None for v in (old, new))) for name in names}
    differ = [f"{name}: {what}" for name, what in found.items() if what]
    print(f"{len(names) - len(differ)} of {len(names)} equal, bit for bit")
    print(*differ[:40], *["..."] * (len(differ) > 40), sep="\n", end="\n" * bool(differ))
    return len(differ)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("answers", "compare"))
    parser.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args()
    if options.what == "answers":
        answers(options.files[0])
    else:
        sys.exit(compare(*options.files) > 0)


if __name__ == "__main__":
    main()

"""Random analyses, each held to the laws of the inference layer: estimand x weight x predictions x design x dtype.

    python benchmarks/random_analyses.py 2000 > benchmarks/random_analyses.md

Hypothesis draws the analyses and shrinks what breaks a law; tests/inference/test_random_analyses.py runs 60 of them.
Laws: an answer has no NaN, p-values in [0, 1], and no interval of width zero unless the fit is exact; a refusal is a
ValueError or TypeError with a sentence; weight 0 is what statsmodels says; units (2^-490 to 2^490, about 1e+-147),
offsets (to 2^40, about 1e12), the order of rows, their index, the names of columns and the types that hold them change
nothing.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from icl.inference import OLS, Design, InferenceResult, Logistic, Mean, Multinomial, Poisson, Quantile, infer

ESTIMANDS: dict[str, Callable[[], Any]] = {
    "mean": lambda: Mean("y"),
    "share": lambda: Mean("event"),
    "groups": lambda: Mean("y", by="g"),
    "shares by group": lambda: Mean("event", by="g"),
    "two means": lambda: Mean(["y", "event"]),
    "ols": lambda: OLS("y ~ x + C(g)"),
    "columns": lambda: OLS("y", covariates=["x", "z"]),
    "logistic": lambda: Logistic("event ~ x"),
    "poisson": lambda: Poisson("count ~ x"),
    "multinomial": lambda: Multinomial("kind ~ x"),
    "median": lambda: Quantile("y"),
    "upper": lambda: Quantile("y", 0.9),
}
PREDICTED = {"two means": ["f", "p"], "logistic": "p", "share": "p", "shares by group": "p", "poisson": "mu"}
PREDICTED["multinomial"] = ["k0", "k1", "k2"]
IN_UNITS = ("mean", "groups", "ols", "columns", "median", "upper")
WEIGHTS = ("auto", 0, 1, 0.4, "ppi++", "synsurr", "coordinate", "matrix", "recalibrated")
DESIGNS = ("none", "none", "weights", "probability", "strata", "clusters")
QUALITIES = ("good", "useless", "biased", "constant", "outcome", "coarse")
SHAPES = ("normal", "skewed", "heavy", "counts", "two values")
DRESSES = ("plain", "nullable", "arrow", "objects", "categories")
PREDICTORS = ("none", "none", "none", "ridge", "constant", "tree")


@dataclass(frozen=True)
class Analysis:
    """One analysis, small enough to be read in a report of a failure."""

    estimand: str
    weight: Any
    design: str
    quality: str
    shape: str
    dress: str
    predictor: str
    std_error: str
    n: int
    N: int
    folds: int
    seed: int
    factor: int
    offset: int

    @property
    def in_units(self) -> bool:
        return self.estimand in IN_UNITS and self.predictor == "none"

    def table(self) -> pd.DataFrame:
        """n labeled rows first, then N unlabeled ones; outcomes and predictions are multiples of 2^-8."""
        return _drawn(self.n, self.N, self.seed, self.shape, self.quality).copy()

    def run(self, table: pd.DataFrame | None = None, **options: Any) -> InferenceResult:
        from sklearn.dummy import DummyRegressor
        from sklearn.linear_model import Ridge
        from sklearn.tree import DecisionTreeRegressor

        design = {
            "weights": Design(weights="w"), "probability": Design(probability="pr"), "strata": Design(strata="s"),
            "clusters": Design(clusters="c"),
        }.get(self.design)  # fmt: skip
        models = {"ridge": Ridge(10), "constant": DummyRegressor(), "tree": DecisionTreeRegressor(random_state=0)}
        given = {"weight": self.weight, "design": design, "std_error": self.std_error}
        if self.predictor in models:
            given |= {"predictor": models[self.predictor], "features": ["x", "z"], "folds": self.folds}
        else:
            given["predictions"] = PREDICTED.get(self.estimand, "f")
        return infer(ESTIMANDS[self.estimand](), self.table() if table is None else table, **given | options)


@lru_cache(maxsize=4)
def _drawn(n: int, N: int, seed: int, shape: str, quality: str) -> pd.DataFrame:
    """The table of analyses that differ in other things; every law of an analysis asks for it."""
    rng, R = np.random.default_rng(seed), n + N
    x, z, e, other = np.round(rng.normal(size=(4, R)) * 256) / 256
    noise = {
        "normal": e, "skewed": np.exp(e), "heavy": e / np.maximum(np.abs(other), 0.05), "counts": np.floor(e * 2),
        "two values": (e > 0.8) * 1.0,
    }[shape]  # fmt: skip
    y = noise if shape == "two values" else noise + x
    f = {
        "good": y + 0.3 * z, "useless": z, "biased": 2 * y + x * x, "constant": 0 * y + 3.0, "outcome": y,
        "coarse": np.sign(y),
    }[quality]  # fmt: skip
    table = pd.DataFrame({"x": x, "z": z, "g": np.resize(["a", "b", "c"], R), "y": y, "f": f})
    table[["y", "f"]] = np.round(table[["y", "f"]] * 256) / 256
    p = 1 / (1 + np.exp(1.5 - x))
    table["event"] = (rng.random(R) < p) * 1.0
    table["count"], table["mu"] = rng.poisson(np.exp(x / 2)) * 1.0, np.exp(x / 2)
    table["kind"] = rng.integers(0, 3, R) * 1.0
    table["p"] = {"constant": 0 * p + 0.3, "outcome": table["event"], "useless": rng.random(R)}.get(quality, p)
    table[["k0", "k1", "k2"]] = rng.dirichlet([2, 2, 2], R)
    table["w"], table["pr"] = 1 + rng.random(R), 0.2 + 0.3 * (x > 0)
    table["s"], table["c"] = np.resize(["u", "v"], R), np.arange(R) % 12
    table.loc[n:, ["y", "event", "count", "kind"]] = np.nan
    return table


analyses = st.builds(
    Analysis,
    st.sampled_from(list(ESTIMANDS)), st.sampled_from(WEIGHTS), st.sampled_from(DESIGNS), st.sampled_from(QUALITIES),
    st.sampled_from(SHAPES), st.sampled_from(DRESSES), st.sampled_from(PREDICTORS),
    st.sampled_from(["auto", "auto", "HC0", "HC1", "HC2", "HC3", "residual"]),
    n=st.integers(4, 60), N=st.integers(0, 150), folds=st.integers(2, 12), seed=st.integers(0, 2**31),
    factor=st.integers(-490, 490), offset=st.integers(-(2**40), 2**40),
)  # fmt: skip


def answer(analysis: Analysis, *args: Any, **options: Any) -> InferenceResult | str:
    """The result, or the refusal, which must be a sentence."""
    try:
        return analysis.run(*args, **options)
    except (ValueError, TypeError) as reason:
        text = str(reason)
        assert len(text.split()) > 5 and text.rstrip().endswith((".", ")", "'")), f"no sentence: {text!r}"
        return text


def numbers(result: InferenceResult) -> np.ndarray:
    """Estimate, standard error, bounds, p-value of zero; a line for each term."""
    interval = result.interval(0.9)
    return np.column_stack([result.estimate, result.std_error, interval, result.p_value()])


def check(analysis: Analysis) -> str:
    """ "answered", or the refusal; AssertionError where a law is broken."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = answer(analysis)
        if isinstance(result, str):
            refused_alike(analysis)
            return result
        sound(analysis, result)
        same_without_predictions(analysis)
        for law in (order_of_rows, names_and_index, dress, units, offset):
            law(analysis, result)
    return "answered"


def sound(analysis: Analysis, result: InferenceResult) -> None:
    """No NaN; bounds in order; zero width only of an exact fit."""
    table = result.to_frame(0.9)
    lower, upper = table["conf.low"].to_numpy(), table["conf.high"].to_numpy()
    assert np.isfinite(table["estimate"]).all() and (table["std.error"] >= 0).all(), table
    assert not np.isnan(lower).any() and not np.isnan(upper).any() and (lower <= upper).all(), table
    assert table["p.value"].between(0, 1).all(), table
    bounds = np.concatenate([lower, upper, table["std.error"]])  # that of a quantile restates its 68% interval
    if not np.isfinite(bounds).all():
        assert "open_interval" in [d.code for d in result.diagnostics], table
    is_atom = analysis.estimand in ("median", "upper")  # of an outcome of few values a quantile may be known exactly
    assert is_atom or (upper > lower).all(), table
    assert result.summary() and len(result.compare()) >= len(table)


def same_without_predictions(analysis: Analysis) -> None:
    """Weight 0 is the answer without predictions, and statsmodels' where that has one."""
    ours = answer(replace(analysis, weight=0))
    if isinstance(ours, str) or analysis.design != "none" or analysis.std_error not in ("HC0", "HC1", "HC2", "HC3"):
        return
    if "no_event" in [d.code for d in ours.diagnostics]:
        return  # a share of which no label has shown an event: statsmodels' interval has width 0, ours does not
    import statsmodels.api as sm

    labeled = analysis.table()[: analysis.n]
    X = {
        "mean": np.ones((analysis.n, 1)),
        "columns": np.column_stack([np.ones(analysis.n), labeled[["x", "z"]]]),
        "logistic": np.column_stack([np.ones(analysis.n), labeled["x"]]),
    }.get(analysis.estimand)  # fmt: skip
    if X is None or (analysis.estimand == "logistic" and analysis.std_error != "HC0"):
        return
    if analysis.estimand == "logistic":
        peer = sm.Logit(labeled["event"].to_numpy(), X).fit(disp=0, cov_type="HC0", tol=1e-12, maxiter=100)
    else:
        peer = sm.OLS(labeled["y"].to_numpy(), X).fit(cov_type=analysis.std_error)
    scale = peer.bse + 1e-9 * np.abs(peer.params)
    assert (np.abs(ours.estimate - peer.params) <= 1e-5 * scale).all(), (ours.estimate, peer.params)
    np.testing.assert_allclose(ours.std_error, peer.bse, rtol=1e-5, atol=1e-12)


def alike(other: InferenceResult | str, result: InferenceResult, scale: float = 1.0, rtol: float = 1e-6) -> None:
    assert not isinstance(other, str), other
    ours, theirs = numbers(result) * [scale, scale, scale, scale, 1], numbers(other)
    unit = np.where(np.isfinite(ours[:, 1:2]) & (ours[:, 1:2] > 0), np.abs(ours[:, 1:2]), scale)
    differ = ours[:, :4] != theirs[:, :4]  # also of two infinities
    off = np.abs(np.subtract(ours[:, :4], theirs[:, :4], out=np.zeros_like(differ * 1.0), where=differ)) / unit
    assert (off < rtol).all(), (ours, theirs)
    assert (np.abs(ours[:, 4] - theirs[:, 4]) < 10 * rtol).all(), (ours, theirs)


def order_of_rows(analysis: Analysis, result: InferenceResult) -> None:
    if analysis.predictor == "none" and result.method != "recalibrated":  # folds go by the place of a row
        alike(answer(analysis, analysis.table().sample(frac=1, random_state=analysis.seed % 1000)), result)


def names_and_index(analysis: Analysis, result: InferenceResult) -> None:
    table = analysis.table()
    alike(answer(analysis, table.set_index(pd.Index(["row"] * len(table)))), result)
    unused = {"k0": 7, "mu": None, "w": np.nan}
    if analysis.estimand in IN_UNITS and analysis.design == "none":
        alike(answer(analysis, table.rename(columns=unused)), result)


def dress(analysis: Analysis, result: InferenceResult) -> None:
    table = analysis.table()
    dressed = {
        "nullable": lambda: table.convert_dtypes(), "arrow": lambda: table.convert_dtypes(dtype_backend="pyarrow"),
        "objects": lambda: table.astype(object), "categories": lambda: table.astype({"g": "category", "s": "category"}),
        "plain": lambda: table.to_dict("list"),
    }[analysis.dress]()  # fmt: skip
    alike(answer(analysis, dressed), result)


def units(analysis: Analysis, result: InferenceResult) -> None:
    if analysis.in_units and "no_event" not in [d.code for d in result.diagnostics]:  # 0 in any unit is a share of 0
        table, factor = analysis.table(), 2.0**analysis.factor
        if analysis.weight == "ppi++" and analysis.estimand in ("ols", "columns"):
            return  # its criterion adds up the variances of coefficients, those of one unit and of another
        alike(answer(analysis, table.assign(y=table["y"] * factor, f=table["f"] * factor)), result, factor)


def offset(analysis: Analysis, result: InferenceResult) -> None:
    """Of a far-away origin the last digits are gone: at 2^40 a number keeps 2^-12, a sum of squares less."""
    if not analysis.in_units or "no_event" in [d.code for d in result.diagnostics]:
        return
    table = analysis.table()
    moved = answer(analysis, table.assign(y=table["y"] + analysis.offset, f=table["f"] + analysis.offset))
    assert not isinstance(moved, str), moved
    is_slope = [analysis.estimand in ("ols", "columns") and term != "Intercept" for term in result.estimate.index]
    level = np.where(is_slope, 0, analysis.offset)
    off = np.abs(moved.estimate.to_numpy() - level - result.estimate.to_numpy())
    assert (off <= 1e-2 * result.std_error + 2.0**-9).all(), (moved.estimate, result.estimate)
    np.testing.assert_allclose(moved.std_error, result.std_error, rtol=1e-2, atol=2.0**-9)


def refused_alike(analysis: Analysis) -> None:
    """What is refused is refused in any order of the rows."""
    if analysis.predictor == "none":
        again = answer(analysis, analysis.table().sample(frac=1, random_state=1))
        assert isinstance(again, str), "refused, but not in another order of rows"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("number", type=int, nargs="?", default=2000)
    number = parser.parse_args().number
    kinds: Counter[str] = Counter()
    broken: list[tuple[Analysis, str]] = []

    @settings(max_examples=number, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(analyses)
    def run(analysis: Analysis) -> None:
        try:
            kinds[check(analysis)] += 1
        except Exception as reason:
            kinds["broken"] += 1
            broken.append((analysis, f"{type(reason).__name__}: {reason}"[:300]))

    run()
    answered = kinds.pop("answered", 0)
    n_broken = kinds.pop("broken", 0)
    print("# Random analyses\n\nMade by `benchmarks/random_analyses.py`.\n")
    print("| analyses | answered, all laws kept | refused with a sentence | a law broken |\n|---|---|---|---|")
    print(f"| {sum(kinds.values()) + answered + n_broken:,} | {answered:,} | {sum(kinds.values()):,} | {n_broken} |\n")
    stems = Counter()
    for text, count in kinds.items():
        stems["".join("#" if c.isdigit() else c for c in text)[:110]] += count
    print("Refusals, by their first words:\n")
    for stem, count in stems.most_common(30):
        print(f"- {count}: {stem}")
    if broken:
        print("\nBroken:\n")
        for reason, analysis in list({reason[:50]: (reason, analysis) for analysis, reason in broken}.values())[:20]:
            print(f"- `{analysis}`: {' '.join(reason.split())}")


if __name__ == "__main__":
    main()

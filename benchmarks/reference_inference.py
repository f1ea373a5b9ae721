"""The findings about intervals: name, what came before, what is run now."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.frozen import FrozenEstimator

from icl import ICLClassifier
from icl.inference import OLS, Design, Mean, Poisson, Statistic, infer, plan

LEVEL = 0.9


def interval(result, term=None) -> str:
    """Estimate, bounds and codes of a result."""
    bounds = result.interval()
    term = bounds.index[-1] if term is None else term
    low, high = bounds.loc[term]
    codes = ", ".join(finding.code for finding in result.diagnostics)
    return f"{result.estimate[term]:.3g} [{low:.3g}, {high:.3g}]" + (f" ({codes})" if codes else "")


def covered(draw, n, N, estimand, truth, reps, term=None, **options) -> str:
    """Share of 90% intervals that hold the truth, default and labels alone."""
    hits = []
    for r in range(reps):
        table = draw(np.random.default_rng([11, r]), n + N)
        if n:
            table["y"] = np.where(np.arange(n + N) < n, table["y"], np.nan)
        pair = [infer(estimand, table, **{**options, **more}).interval(LEVEL) for more in ({}, {"weight": 0})]
        pair = [part if term is None else part.loc[[term]] for part in pair]
        hits.append([np.mean((p["lower"] <= truth) & (truth <= p["upper"])) for p in pair])
    ours, labels = np.mean(hits, axis=0)
    return f"{ours:.3f} (labels alone {labels:.3f}; {reps} samples, +- {np.sqrt(0.09 / reps):.3f})"


def weak_slope():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 240))
    y = x + rng.normal(size=240)
    y[40:] = np.nan
    out = []
    for k in (5, 10, 40):
        model = OLS("y", covariates=["x"])
        result = infer(model, dict(x=x, z=z, y=y), predictor=DummyRegressor(), features=["z"], folds=k)
        out.append(f"{k} folds {interval(result, 'x')}")
    mean = infer(Mean("y"), dict(z=z, y=y), predictor=DummyRegressor(), features=["z"], folds=20, weight="ppi++")
    return "; ".join(out) + f"; mean, ppi++: n effective {mean.n_effective.iloc[0]:.3g}"


def known_with_the_outcome():
    r = np.random.default_rng(0)
    x = r.normal(size=1500)
    s = x + r.normal(size=1500)
    d = pd.DataFrame({"x": x, "score": s, "passed": (s > 0).astype(float)})
    d.loc[120:, ["score", "passed"]] = np.nan
    model = ICLClassifier("nano", n_estimators=1)
    return interval(infer(Mean("passed"), table=d, predictor=model))


def rare_groups():
    table = {"y": np.zeros(90), "g": np.repeat(["a", "b", "c"], 30)}
    table["y"][40], table["y"][70] = 1, 1
    result = infer(Mean("y", by="g"), table)
    share = lambda rng, M: {"y": (rng.random(M) < 0.05) * 1.0, "g": np.resize(np.arange(3), M), "f": rng.random(M)}
    rate = covered(share, 90, 300, Mean("y", by="g"), 0.05, 40, predictions="f")
    low, high = result.interval().iloc[0]
    return f"[{low:.3g}, {high:.3g}], p of .2 {result.p_value(0.2).iloc[0]:.3g}; coverage {rate}"


def frozen():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 240))
    d = pd.DataFrame({"x": x, "z": z, "y": x + rng.normal(size=240)})
    d.loc[40:, "y"] = np.nan
    forest = FrozenEstimator(RandomForestRegressor(30, random_state=0).fit(d[["x", "z"]][:40], d["y"][:40]))
    frozen = infer(Mean("y"), d, predictor=forest)
    rounded = infer(Mean("y"), d.assign(f=np.where(d["y"].notna(), d["y"].round(1), x)), predictions="f")
    noisy = infer(Mean("y"), d.assign(f=np.where(d["y"].notna(), d["y"] + 0.01 * z, x)), predictions="f")
    codes = lambda result: ", ".join(finding.code for finding in result.diagnostics)
    return f"frozen: {codes(frozen)}; rounded labels: {codes(rounded)}; labels + .01 noise: {codes(noisy)}"


def recalibrated():
    def draw(rng, M):
        x = rng.normal(size=(M, 1))
        y = x.sum(axis=1) + rng.normal(size=M) * (1 + np.abs(x[:, 0]))
        return {"x0": x[:, 0], "y": y, "f": np.exp(0.4 * y) + 0.5 * rng.normal(size=M)}

    options = dict(predictions="f", weight="recalibrated", term="x0")
    return "n = 60, N = 300: " + covered(draw, 60, 300, OLS("y", ["x0"]), 1, 100, **options)


def one_event():
    rng = np.random.default_rng(4)
    table = {"x": rng.normal(size=30), "y": np.eye(30)[3]}
    ml, firth = infer(Poisson("y", ["x"]), table), infer(Poisson("y", ["x"], method="firth"), table)
    return f"default {interval(ml, 'x')}; method='firth' {interval(firth, 'x')}; rates in rare_events.md"


def skewed():
    def quadratic(rng, M):
        x, e = rng.normal(size=(2, M))
        return {"y": x + e, "f": (x + 0.3 * e) ** 2}

    return "quadratic, n = 15: " + covered(quadratic, 15, 400, Mean("y"), 0, 100, predictions="f") + "; attacks.md"


def great_range():
    def draw(rng, M):
        x, e, o = rng.normal(size=(3, M))
        p = 0.005 * 100 ** (1 / (1 + np.exp(-1.5 * x)))
        return {"y": np.where(rng.uniform(size=M) < p, x + e, np.nan), "f": x**2, "p": p}

    options = dict(predictions="f", design=Design(probability="p"))
    return "mean, p .005 to .5: " + covered(draw, 0, 600, Mean("y"), 0, 100, **options) + "; quantiles in attacks.md"


def same_rows():
    rng = np.random.default_rng(0)
    d = pd.DataFrame({"y": rng.normal(size=300)})
    d["f"] = d["y"] + rng.normal(size=300)
    return interval(infer(Mean("y"), labeled=d[:60], unlabeled=d[["f"]], predictions="f", weight="ppi++"))


def bootstrap():
    statistic = Statistic(lambda d: d["y"].to_numpy().mean(), "y", n_draws=199)
    hits = []
    for r in range(50):
        low, high = infer(statistic, {"y": np.random.default_rng([5, r]).normal(size=15)}).interval(LEVEL).iloc[0]
        hits.append(low <= 0 <= high)
    return f"mean of 15: {np.mean(hits):.2f} (50 samples, +- .04); correlation, standard deviation in attacks.md"


def small_groups():
    def draw(rng, M):
        y = rng.normal(size=M)
        return {"y": y, "g": np.resize(np.arange(8), M), "f": y + rng.normal(size=M)}

    return covered(draw, 20, 400, Mean("y", by="g"), 0, 100, predictions="f")


def lognormal():
    def draw(rng, M):
        x = np.exp(1.2 * rng.normal(size=M))
        e, o = rng.normal(size=(2, M))
        return {"x": x, "y": x + e, "f": x + e + o}

    return covered(draw, 30, 300, OLS("y", ["x"]), 1, 100, term="x", predictions="f", weight="ppi++")


def wald_of_four():
    hits = []
    for r in range(100):
        X, (e, o) = (rng := np.random.default_rng([9, r])).normal(size=(4, 360)), rng.normal(size=(2, 360))
        y = X[0] + e
        table = {f"x{j}": x for j, x in enumerate(X)} | {"y": np.where(np.arange(360) < 60, y, np.nan), "f": y + o}
        result = infer(OLS("y", list(table)[:4]), table, predictions="f", weight="matrix")
        hits.append(result.wald(list(table)[:4], [1, 0, 0, 0]).p_value >= 0.1)
    return f"{np.mean(hits):.3f} of 100 tests keep the truth (+- .03)"


def units():
    rng = np.random.default_rng(0)
    x, e, o = rng.normal(size=(3, 300))
    y = np.where(np.arange(300) < 40, x + e, np.nan)
    weights = [infer(OLS("y", ["x"]), dict(x=s * x + c, y=y, f=x + e + o), predictions="f", weight="ppi++").weight
               for s, c in ((1, 0), (1e3, 0), (1, 7))]  # fmt: skip
    return f"weights differ by {np.ptp(weights):.1e} between units and origins"


def far_from_zero():
    rng = np.random.default_rng(0)
    y, o = rng.normal(size=(2, 300))
    table = lambda a, b: {"y": np.where(np.arange(300) < 60, y + a, np.nan), "f": y + o + b}
    say = lambda t: interval(infer(Mean("y"), t, predictions="f"))
    huge = {name: values * 1e160 for name, values in table(0, 0).items()}
    try:
        last = say(huge)
    except ValueError as reason:
        last = f"refused: {reason}"
    return (
        f"plain {say(table(0, 0))}; f + 3e8 {say(table(0, 3e8))}; both + 1e9 {say(table(1e9, 1e9))}; times 1e160 {last}"
    )


def planned():
    rng = np.random.default_rng(0)
    y, o = rng.normal(size=(2, 600))
    result = infer(Mean("y"), {"y": np.where(np.arange(600) < 60, y, np.nan), "f": y + o}, predictions="f")
    return str(plan(result, width=0.3)).replace("\n", " ")


INFERENCE = [
    ("1. cross-fitting undoes the estimate", ".82, .60, .085 [.024, .145]; n effective 1.6e31", weak_slope),
    ("2. columns known with the outcome", ".807 [.784, .830], truth .480, one footer note", known_with_the_outcome),
    ("3. rare shares by group", "[0, 0], p NaN; coverage .792", rare_groups),
    ("4. a predictor that ignores fit", "coverage .473 without a word in 150 of 150", frozen),
    ("5. recalibrated", ".750 at n = 60, N = 300", recalibrated),
    ("6. slopes from one event", "[-2.31, -.19] and the like, no note", one_event),
    ("7. skewed predictions", ".828 (labels alone .895)", skewed),
    ("8. great ranges of probabilities", ".738 (.810)", great_range),
    ("9. the same rows twice", ".835", same_rows),
    ("10. bootstrap at small n", "mean n = 15 .855", bootstrap),
    ("11. groups of 2 to 3 labels", ".866", small_groups),
    ("11. leverage of a lognormal covariate, ppi++", ".793", lognormal),
    ("11. joint Wald test of 4, matrix", ".851", wald_of_four),
    ("11. ppi++ and units of x", "2e-3 to 2e-2", units),
    ("11. numbers far from zero", "no_information, in_sample, [NaN, NaN]", far_from_zero),
    ("11. plan", "a median width, reached in 44 to 57 % of draws, unsaid", planned),
]

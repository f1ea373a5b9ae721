"""Every guard on two examples: one that deserves it, and one as near as may be that does not."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeRegressor

import icl.inference
from icl.inference import OLS, Design, Logistic, Mean, Multinomial, Quantile, infer
from tests.inference.completed_pairs import COMPLETED
from tests.inference.more_pairs import MORE
from tests.inference.own_pairs import OWN

N_LABELED = 60


def draw(n: int = N_LABELED, N: int = 240, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, noise, other = rng.normal(size=(3, n + N))
    table = pd.DataFrame({"y": 1 + x + noise, "x": x, "f": x + 0.5 * noise + 0.5 * other})
    table["group"] = np.resize(["a", "b", "c"], n + N)
    table["high"] = (table["y"] > 1) * 1.0
    table.loc[n:, ["y", "high"]] = np.nan
    return table


def column(name: str, values, **more) -> dict:
    """An analysis of the mean of y, or another, with one column replaced."""
    return {"estimand": Mean("y"), "table": draw().assign(**{name: values}), "predictions": "f"} | more


def correlated(rho: float) -> dict:
    """Predictions that correlate with the labeled outcomes at `rho`, to the last digit."""
    table = draw()
    y = table["y"].to_numpy()[:N_LABELED]
    y = (y - y.mean()) / y.std()
    other = np.random.default_rng(5).normal(size=N_LABELED)
    other -= other.mean() + (other @ y) / N_LABELED * y
    f = np.random.default_rng(6).normal(size=len(table))
    f[:N_LABELED] = rho * y + np.sqrt(1 - rho**2) * other / other.std()
    return column("f", f)


def events(k: int) -> dict:
    y = np.where(np.arange(300) < N_LABELED, np.arange(300) < k, np.nan)
    return column("y", y, predictions=None)


def few(n: int, N: int = 240) -> dict:
    return {"estimand": OLS("y ~ x"), "table": draw(n, N), "predictions": "f"}


def rare_group(k: int) -> dict:
    group = np.where((np.arange(300) < k) | (np.arange(300) > 250), "d", draw()["group"])
    return column("group", group, estimand=OLS("y ~ C(group)"), predictions=None)


def selected(sign: float) -> dict:
    """Labels by known probabilities of x; with `sign` -1 they are stated the wrong way round."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=1_500)
    p = lambda s: 0.06 + 0.24 / (1 + np.exp(-2 * s * x))
    y = np.where(rng.uniform(size=1_500) < p(1), x + rng.normal(size=1_500), np.nan)
    table = pd.DataFrame({"x": x, "f": x + rng.normal(size=1_500), "y": y})
    return {"estimand": Mean("y"), "table": table, "predictions": "f", "design": Design(probability=p(sign))}


def overlap(cut: float) -> dict:
    x = np.random.default_rng(0).normal(size=600)
    y = np.where((x > cut) | (np.arange(600) == x.argmin()), x, np.nan)
    y = np.where(np.random.default_rng(1).uniform(size=600) < (0.3 if cut == -np.inf else 1), y, np.nan)
    y[x.argmin()] = x.min()
    return {"estimand": Mean("y"), "table": pd.DataFrame({"x": x, "y": y}), "predictor": LinearRegression(),
            "design": Design(propensity=LogisticRegression(C=100))}  # fmt: skip


def estimated(estimand) -> dict:
    x, e, u = np.random.default_rng(0).normal(size=(3, 600))
    table = pd.DataFrame({"x": x, "y": np.where(u > 0.5 - 0.3 * x, x + e, np.nan)})
    design = Design(propensity=LogisticRegression(C=100))
    return {"estimand": estimand, "table": table, "predictor": LinearRegression(), "design": design}


def weighted(heavy: float) -> dict:
    return column("w", np.where(np.arange(300) % 10 == 0, heavy, 1.0), design=Design(weights="w"))


def clusters(G: int) -> dict:
    school = np.where(np.arange(300) < N_LABELED, np.arange(300) % G, 100 + np.arange(300) % 50)
    return column("school", school, design=Design(clusters="school"))


def learned(predictor, features=None, **columns) -> dict:
    """An analysis with a predictor, which sees x, the columns added here, or `features`."""
    table = draw()[["y", "x"]].assign(**columns)
    return {"estimand": Mean("y"), "table": table, "predictor": predictor, "features": features}


BASE = draw()
LABELED = np.arange(300) < N_LABELED
Y = BASE["y"].to_numpy()
NOISE = np.random.default_rng(9).normal(size=300)
Y_ALL = np.where(LABELED, Y, BASE["f"] + 1 + np.random.default_rng(8).normal(size=300))
DIAGNOSTICS = {
    "in_sample": (
        column("f", np.where(LABELED, Y, BASE["f"])),
        column("f", np.where(LABELED, Y + 0.3 * NOISE, BASE["f"])),
    ),
    "estimated_probabilities": (estimated(OLS("y ~ x")), estimated(Mean("y"))),
    "shift": (column("f", BASE["f"] + 1.5 * LABELED), column("f", BASE["f"] + 0.1 * LABELED)),
    "weak_predictions": (correlated(0.12), correlated(0.14)),  # 1 / sqrt(58) is .131
    "few_labels": (few(19), few(20)),
    "negative_weight": (correlated(-0.5), correlated(-0.2)),  # the latter may be chance
    "no_information": (column("f", 2.0), column("f", 2.0 + NOISE)),
    "hard_labels": (
        column("f", (BASE["x"] > 0) * 1.0, estimand=Mean("high")),
        column("f", np.where(BASE["x"] > 0, 0.99, 0.01), estimand=Mean("high")),
    ),
    "weight_leverage": (
        column("f", np.isin(np.arange(300), (0, 100, 101)) * 1.0),
        column("f", np.isin(np.arange(300) % 20, (0, 5)) * 1.0),
    ),
    "wider_than_classical": (column("f", 5 * NOISE, weight=1), column("f", BASE["f"], weight=1)),
    "weight_clipped": (
        column("f", 0.1 * BASE["f"], compat="ppi_py"),
        column("f", 1.5 * BASE["f"], compat="ppi_py"),
    ),
    "influential_row": tuple(column("y", np.where(np.arange(300) == 3, far, Y)) for far in (60.0, 5.0)),
    "rare_event": (events(9), events(10)),
    "no_event": (events(0), events(1)),
    "rare_event_slopes": tuple({**events(k), "estimand": Logistic("y", covariates=["x"])} for k in (9, 10)),
    "thin_category": (rare_group(4), rare_group(5)),
    "few_rows": (few(9), few(10)),
    "open_interval": (
        {"estimand": Quantile("y", 0.99), "table": BASE},
        {"estimand": Quantile("y", 0.9), "table": BASE},
    ),
    "imbalance": (selected(-1), selected(1)),
    "uneven_weights": (weighted(60.0), weighted(3.0)),
    "poor_overlap": (overlap(1.0), overlap(-np.inf)),
    "few_clusters": (clusters(19), clusters(20)),
    "no_unlabeled_rows": (
        {"estimand": Mean("y"), "table": BASE[:N_LABELED], "predictions": "f"},
        {"estimand": Mean("y"), "table": BASE[: N_LABELED + 5], "predictions": "f"},
    ),
    "ignores_fit": (
        learned(FrozenEstimator(DecisionTreeRegressor().fit(BASE[["x"]][:N_LABELED], Y[:N_LABELED]))),
        learned(DecisionTreeRegressor(random_state=0)),
    ),
    "too_good": (column("f", Y_ALL + 0.03 * NOISE), column("f", Y_ALL + 0.1 * NOISE)),
    "follows_outcome": tuple(
        learned(HistGradientBoostingRegressor(), follow_up=np.where(known, Y_ALL + NOISE, np.nan))
        for known in (LABELED, np.arange(300) % 3 > 0)
    ),
    "copies_outcome": (
        learned(LinearRegression(), copy=np.where(LABELED, 2 * Y_ALL, 3 + NOISE)),
        learned(LinearRegression(), copy=np.where(LABELED, Y_ALL + 0.3 * NOISE, 1 + BASE["x"] + NOISE)),
    ),
    "repeated_rows": tuple(
        {"estimand": Mean("y"), "table": pd.concat([BASE[:k], BASE]), "predictions": "f"} for k in (N_LABELED // 2, 3)
    ),
    "unused_labels": tuple(
        {"estimand": Mean("y"), "labeled": draw(100, 0)[:50], "unlabeled": part, "predictions": "f"}
        for part in (draw(100, 0)[50:], draw(100, 0)[50:].drop(columns="y"))
    ),
}  # fmt: skip
DIAGNOSTICS |= MORE | COMPLETED | OWN
REFUSED = {
    "collinear": (
        column("twice", 2 * BASE["x"], estimand=OLS("y ~ x + twice")),
        column("twice", 2 * BASE["x"] + 1e-4 * NOISE, estimand=OLS("y ~ x + twice")),
        "collinear",
    ),
    "far from zero": (
        column("t", 1.7e12 + BASE["x"], estimand=OLS("y ~ t")),
        column("t", 1.7e12 + BASE["x"], estimand=OLS("y ~ center(t)")),
        "so far from zero",
    ),
    "separable": (
        column("high", np.where(LABELED, BASE["x"] > 0, np.nan), estimand=Logistic("high ~ x"), predictions=None),
        column("high", np.where(LABELED, (BASE["x"] > 0) ^ (np.arange(300) == BASE["x"][:30].argmax()), np.nan),
               estimand=Logistic("high ~ x"), predictions=None),
        "separate the outcomes",
    ),
    "a class without labels": (
        column("kind", np.where(LABELED, BASE["group"], None), estimand=Mean("kind", event="d"), predictions=None),
        column("kind", np.where(LABELED, BASE["group"], None), estimand=Mean("kind", event="c"), predictions=None),
        "no labeled row has",
    ),
    "a class of the predictions without labels": tuple(
        column("kind", np.where(LABELED, np.resize(seen, 300), None), estimand=Multinomial("kind ~ x"),
               predictions=np.full((300, 3), 1 / 3))
        for seen in (["a", "b"], ["a", "b", "c"])
    ) + ("predictions= got shape",),
    "a group without labels": (
        column("group", np.where(np.arange(300) > 290, "d", BASE["group"]), estimand=Mean("y", by="group")),
        column("group", np.where(np.arange(300) % 10 == 0, "d", BASE["group"]), estimand=Mean("y", by="group")),
        "no labeled one",
    ),
    "NaN predictions": (
        column("f", np.where(np.arange(300) == 299, np.nan, BASE["f"])), column("f", BASE["f"]), "1 of 240 are NaN",
    ),
    "the same rows as labeled and as unlabeled": tuple(
        {"estimand": Mean("y"), "labeled": BASE[:N_LABELED], "unlabeled": BASE[first:].drop(columns="y"),
         "predictions": "f"}
        for first in (0, N_LABELED)
    ) + ("among the unlabeled rows too",),
    "no column left": tuple(
        learned(LinearRegression()) | {"table": BASE[["y"]].assign(score=score)}
        for score in (np.where(LABELED, Y, np.nan), NOISE)
    ) + ("no column left",),
    "variances beyond floating point": (
        column("y", 1e160 * Y), column("y", 1e140 * Y), "as far as .*Change the units",
    ),
    "n < P + 2": (few(3), few(4), "too few"),
}  # fmt: skip


def codes(case: dict) -> list[str]:
    return [d.code for d in infer(**case).diagnostics]


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_a_diagnostic_fires_where_it_should_and_nowhere_near(name):
    """A code that several estimands give has a pair for each: "code", "code/estimand"."""
    deserves, innocent = DIAGNOSTICS[name]
    code = name.partition("/")[0]
    assert code in codes(deserves)
    assert code not in codes(innocent)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_fires_where_it_should_and_nowhere_near(name):
    deserves, innocent, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        infer(**deserves)
    assert np.isfinite(infer(**innocent).estimate).all()


def test_every_diagnostic_has_its_pair():
    folder = Path(icl.inference.__file__).parent
    found = {c for f in folder.rglob("*.py") for c in re.findall(r'Diagnostic\(\s*"(\w+)"', f.read_text("utf-8"))}
    assert found == {name.partition("/")[0] for name in DIAGNOSTICS}

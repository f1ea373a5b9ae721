"""Pairs of `test_infer_guard_pairs` for what estimands say of themselves: tails, times to events, instruments."""

import numpy as np
import pandas as pd

from icl.inference import (
    Cloglog,
    Cox,
    Disparity,
    Distribution,
    Logistic,
    Mean,
    Multinomial,
    NegativeBinomial,
    Poisson,
    Probit,
    Shares,
    Survival,
    Transport,
    TwoStage,
)  # fmt: skip


def amounts(n: int, power: float = 0.2) -> pd.DataFrame:
    """Evenly spread quantiles of a Pareto tail: no variance from a power of .5 on."""
    return pd.DataFrame({"y": (1 - (np.arange(n) + 0.5) / n) ** -power})


def measure(n: int, what: str, at=None, power: float = 0.2) -> dict:
    return {"estimand": Distribution("y", what, at), "table": amounts(n, power)}


def watched(n: int = 200, seed: int = 0, slope: float = 0.5, late: float = 0.5, lost: float = 0.0) -> pd.DataFrame:
    """Times whose hazard follows x by `slope` early and `late` late; being lost follows x by `lost`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    early, rest = (rng.exponential(np.exp(-k * x)) for k in (slope, late))
    until = np.where(early < 0.5, early, 0.5 + rest)
    out = rng.exponential(2 * np.exp(-lost * x))
    return pd.DataFrame({"t": np.minimum(until, out), "d": (until <= out) * 1, "x": x})


def survival(at: float, table: pd.DataFrame | None = None) -> dict:
    return {"estimand": Survival("t", "d", at), "table": watched() if table is None else table}


def cox(covariates: str = "x", **columns) -> dict:
    return {"estimand": Cox("t", "d", covariates), "table": watched().assign(**columns)}


def group_of_events(k: int) -> np.ndarray:
    """Forty rows, of which k have an event."""
    seen = watched()["d"].to_numpy() == 1
    return np.isin(np.arange(200), np.r_[np.flatnonzero(seen)[:k], np.flatnonzero(~seen)[: 40 - k]]) * 1.0


def first_events(k: int) -> dict:
    """All lost but the first k of those who had the event."""
    return cox(d=lambda t: t["d"] * (t["d"].cumsum() <= k))


def regular(n_lost: int, n_left: int) -> pd.DataFrame:
    """Twenty events by time 1, then rows lost by time 2, then rows that stay beyond it."""
    n = 20 + n_lost + n_left
    t = np.r_[np.linspace(0.1, 0.9, 20), np.linspace(1.1, 1.9, n_lost), np.linspace(2.5, 3, n_left)]
    return pd.DataFrame({"t": t, "d": (np.arange(n) < 20) * 1})


def instruments(pull: float = 1.0, other: float = 0.0, n: int = 300, labeled: int = 300, **more) -> dict:
    """`z` moves the dose with strength `pull`, `z2` as z does, and the outcome by `other` itself."""
    rng = np.random.default_rng(0)
    z, z2, hidden, e = rng.normal(size=(4, n))
    dose = pull * (z + z2) + hidden
    y = np.where(np.arange(n) < labeled, dose + hidden + other * z2 + e, np.nan)
    table = pd.DataFrame({"y": y, "z": z, "z2": z2, "dose": dose})
    return {"estimand": TwoStage("y ~ dose", {"dose": ["z", "z2"]}), "table": table}


def share_of(f: float) -> dict:
    """A share whose labels are 160 of 200, while predictions say `f` of the rows without labels."""
    y = np.where(np.arange(600) < 200, np.arange(600) % 5 > 0, np.nan)
    f = np.where(np.arange(600) < 200, np.nan_to_num(y) * 0.5 + 0.2, f)
    return {"estimand": Mean("y", event=1.0), "table": pd.DataFrame({"y": y, "f": f}), "predictions": "f", "weight": 1}


def classes(apart: float, n: int = 200, stretch: float = 1.0, first: float = 0.3) -> dict:
    """Three classes by a score that lies `apart` between them, among unlabeled rows `stretch` times as wide."""
    rng = np.random.default_rng(0)
    y = np.r_[rng.choice(3, n, p=[first, 0.5 - first / 2, 0.5 - first / 2]), rng.choice(3, 1000, p=[0.2, 0.2, 0.6])]
    score = apart * y + rng.normal(size=n + 1000) * np.where(np.arange(n + 1000) < n, 1, stretch)
    raw = np.exp(-((score[:, None] - apart * np.arange(3)) ** 2) / 2)
    table = pd.DataFrame(raw / raw.sum(axis=1, keepdims=True), columns=["p", "q", "r"])
    table["y"] = np.where(np.arange(n + 1000) < n, np.array(["a", "b", "c"])[y], None)
    return {"estimand": Shares("y"), "table": table, "predictions": ["p", "q", "r"], "design": Transport(shift="label")}


def decided_for(n_against: int) -> dict:
    """Thirty rows of a second group, of which all but `n_against` are decided for."""
    k = np.arange(150)
    d = np.where(k < 120, k % 3 > 0, k >= 120 + n_against)
    return {"estimand": Disparity("d", "g"), "table": pd.DataFrame({"d": d * 1.0, "g": np.where(k < 120, "a", "b")})}


WAVES = np.sin(np.arange(80.0) ** 2)
OWN = {
    "thin_tail": (measure(150, "cvar", 0.9), measure(250, "cvar", 0.9)),
    "thin_tail/share": (measure(150, "share", (0.9, 1)), measure(150, "share", (0.75, 1))),
    "heavy_tail": (measure(500, "gini", power=0.9), measure(500, "gini")),
    "heavy_tail/cvar": (measure(500, "cvar", 0.8, power=0.9), measure(500, "below", 3.0, power=0.9)),
    "few_events": (survival(0.02), survival(0.3)),
    "few_at_risk": (survival(2.2, regular(40, 9)), survival(2.2, regular(40, 11))),
    "heavy_censoring": (survival(2.2, regular(90, 20)), survival(2.2, regular(50, 20))),
    "dependent_censoring": (survival(0.5, watched(lost=1.0)), survival(0.5, watched())),
    "dependent_censoring/cox": (
        cox("w", w=watched(seed=9)["x"], **watched(lost=1.0)), {**cox("x"), "table": watched(lost=1.0)},
    ),
    "rare_event_slopes/cox": (first_events(9), first_events(11)),
    **{
        f"rare_event_slopes/{kind.__name__}": tuple(
            {"estimand": kind("y ~ x"), "table": pd.DataFrame({"y": (np.arange(80) % 80 < k) * 1.0, "x": WAVES})}
            for k in (9, 11)
        )
        for kind in (Logistic, Probit, Cloglog, Poisson, NegativeBinomial, Multinomial)
    },
    "near_separation": tuple(cox("x + g", g=group_of_events(k)) for k in (1, 15)),
    "hazards_not_proportional": tuple({**cox(), "table": watched(400, late=late)} for late in (-0.5, 0.5)),
    "weak_instrument": (instruments(0.15), instruments()),
    "weak_instrument/labels": (instruments(0.3, n=3000, labeled=60), instruments(0.3, n=3000, labeled=1500)),
    "instruments_disagree": (instruments(other=0.6), instruments()),
    "few_of_class": (classes(3.0, first=0.04), classes(3.0)),
    "confused_classes": (classes(1.5), classes(2.5)),
    "no_label_shift": (classes(2.0, stretch=4.0), classes(2.0)),
    "rate_without_variation": (decided_for(0), decided_for(3)),
    "rate_without_variation/against": (decided_for(30), decided_for(27)),
    "beyond_limits": (share_of(0.9), share_of(0.6)),
}  # fmt: skip

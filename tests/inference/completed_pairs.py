"""Pairs of `test_infer_guard_pairs` for gaps, imputations and synthetic rows."""

import warnings

import numpy as np
import pandas as pd

import icl
from icl.inference import OLS, Mean


def rows(n: int = 120) -> pd.DataFrame:
    x, e = np.random.default_rng(0).normal(size=(2, n))
    return pd.DataFrame({"x": x, "y": x + e})


def completed(spread: float, m: int = 5) -> dict:
    """The same rows m times, half of x drawn with this spread about what it is."""
    rng, table = np.random.default_rng(1), rows()
    drawn = [table["x"].where(table.index % 2 == 0, table["x"] + spread * rng.normal(size=120)) for _ in range(m)]
    return {"estimand": OLS("y ~ x"), "table": [table.assign(x=x) for x in drawn]}


def gaps(n: int) -> dict:
    """The first n rows do not know x."""
    table = rows().assign(z=np.random.default_rng(2).normal(size=120))
    table.loc[: n - 1, "x"] = np.nan
    return {"estimand": OLS("y ~ x + z"), "table": table, "missing": "patterns"}


def imputed(column: str, blank: bool = False, **options) -> dict:
    table = rows()
    table.loc[:20, column] = np.nan
    if blank:
        table.loc[100] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", icl.ImputationWarning)
        filled = icl.impute(table, m=4, rounds=1, budget=0, progress=False, **options)
    return {"estimand": OLS("y ~ x"), "table": filled}


def linked(folds: int) -> dict:
    """A synthetic outcome for every real row, and what is known of how the labeled rows' were drawn."""
    table = rows()
    drawn = table.assign(row=table.index)
    drawn.attrs["folds"] = folds
    return {"estimand": Mean("y"), "table": table.assign(y=table["y"].where(table.index < 60)),
            "synthetic": (drawn, "row")}  # fmt: skip


COMPLETED = {
    "few_imputations": (completed(1.0), completed(0.0)),
    "missing_information": (completed(4.0), completed(0.0)),
    "gaps_at_random": (gaps(30), gaps(0)),
    "patterns_left_out": (gaps(4), gaps(30)),
    "imputation": (imputed("x", blank=True), imputed("x")),
    "imputed_outcome": (imputed("y"), imputed("x")),
    "shifted_imputations": (imputed("x", shift={"x": 0.5}), imputed("x")),
    "synthetic_cannot_help": (
        {"estimand": Mean("y"), "labeled": rows(), "synthetic": rows()}, linked(5),
    ),
    "synthetic_may_have_seen": (linked(0), linked(5)),
}  # fmt: skip

"""Several predictions of one outcome, combined, beside the best single one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from benchmarks.estimands.case import Answers, Case, answer
from icl.inference import Mean


def draw(rng, n: int, K: int, useful: bool) -> Answers:
    """The first of K predictions is the best; the others know something else, or nothing."""
    N = 1000
    x = rng.normal(size=(n + N, K))
    slopes = np.array([1.0, 0.8, 0.5, 0.3, 0.2])[:K] if useful else np.eye(K)[0]
    y = x @ slopes + 0.7 * rng.normal(size=n + N)
    names = [f"f{j}" for j in range(K)]
    table = pd.DataFrame(x + 0.6 * rng.normal(size=x.shape), columns=names).assign(y=y)
    table.loc[n:, "y"] = np.nan
    out = {
        "best single": answer(0.0, Mean("y"), table, predictions="f0"),
        "labels alone": answer(0.0, Mean("y"), table),
    }
    return out | ({"combined": answer(0.0, Mean("y"), table, predictions=names)} if K > 1 else {})


def _cases():
    for n in (30, 50, 200):
        for K, useful in ((2, True), (5, True), (5, False)):
            name = f"n = {n}, K = {K}" + ("" if useful else ", all but one useless")
            yield Case("Several predictions", name, partial(draw, n=n, K=K, useful=useful), 500 if n == 50 else 1000)


CASES = [*_cases()]

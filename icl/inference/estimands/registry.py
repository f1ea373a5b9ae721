"""Every estimand of this folder, and a table that their examples fit: what the contract test runs through the laws.

An estimand in a file of its own is found here without being named anywhere.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.estimands.base import Estimand

if TYPE_CHECKING:
    import pandas as pd


def registered() -> list[type[Estimand]]:
    """The estimands that can be instantiated, by name."""
    import icl.inference.estimands as folder

    for module in pkgutil.iter_modules(folder.__path__, folder.__name__ + "."):
        importlib.import_module(module.name)
    found = {kind for kind in _below(Estimand) if kind.__module__.startswith(folder.__name__)}
    return sorted((kind for kind in found if not inspect.isabstract(kind)), key=lambda kind: kind.__name__)


def example_table(seed: int = 0, n: int = 120, N: int = 600) -> pd.DataFrame:
    """n rows with and N without outcomes of every kind, and predictions of each.

    Outcomes are y (number), event (0, 1), count, level (0, 1, 2), their predictions f, p (probability), mu (expected
    count) and q0, q1, q2 (probabilities of the levels); x, z and group are covariates; treated is a trial's arm
    (0, 1), tool an instrument of dose; time and died, and amount, are further outcomes.
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    x, z, e = rng.normal(size=(3, n + N))
    eta = 0.3 + 0.6 * x
    table = pd.DataFrame({"x": x, "z": z, "group": rng.choice(list("abc"), n + N)})
    table["y"] = eta + e
    table["event"] = (rng.random(n + N) < 1 / (1 + np.exp(-eta))).astype(float)
    table["count"] = rng.poisson(np.exp(eta / 2)).astype(float)
    table["level"] = np.digitize(table["y"], [-0.3, 0.8]).astype(float)
    table["f"] = eta + 0.5 * e + 0.3 * z
    table["p"] = 1 / (1 + np.exp(-(eta + 0.8 * (table["event"] - 0.5) + 0.3 * z)))
    table["mu"] = np.exp(eta / 2 + 0.1 * (table["count"] - 1) + 0.2 * z)
    raw = np.exp(np.column_stack([np.zeros(n + N), 0.5 + table["f"] / 2, table["f"]]))
    table[["q0", "q1", "q2"]] = raw / raw.sum(axis=1, keepdims=True)
    more = np.random.default_rng([seed, 1])  # so that columns that are added leave the others as they are
    table["treated"] = (more.random(n + N) < 0.5).astype(float)
    table["tool"] = more.normal(size=n + N)
    table["dose"] = table["tool"] + 0.5 * e + more.normal(size=n + N)
    until, lost = more.exponential(np.exp(-eta / 2)), more.exponential(2.0, size=n + N)
    table["time"], table["died"] = np.minimum(until, lost), (until <= lost).astype(float)
    table["amount"] = table["mu"] * more.gamma(2.0, 0.5, size=n + N)
    table.loc[n:, ["time", "died", "amount"]] = np.nan
    table.loc[n:, ["y", "event", "count", "level"]] = np.nan
    return table


def _below(kind: type) -> Iterator[type]:
    children: list[type] = kind.__subclasses__()
    for child in children:
        yield child
        yield from _below(child)

"""What a case is, and the numbers that one analysis leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from icl.inference import infer

Answers = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Case:
    """`draw(rng)` gives for each method: estimate, truth, bounds at both levels, perhaps seconds."""

    group: str
    name: str
    draw: Callable[[np.random.Generator], Answers]
    n_reps: int = 1000


def answer(truth: float, *arguments: Any, term: int = 0, **options: Any) -> dict[str, float]:
    """Of `infer`; a refusal has no numbers."""
    start = time.perf_counter()
    try:
        result = infer(*arguments, **options)
    except ValueError:
        return refusal(truth)
    return of_result(truth, result, term) | {"seconds": time.perf_counter() - start}


def with_methods(truth: float, names: dict[str, str], *arguments: Any, **options: Any) -> Answers:
    """The chosen answer, named "", and others of the same analysis under the names that `compare` gives them."""
    start = time.perf_counter()
    try:
        result = infer(*arguments, **options)
    except ValueError:
        return {name: refusal(truth) for name in names.values()}
    seconds = {"seconds": time.perf_counter() - start}
    tables = {level: result.compare(level).reset_index().set_index("method") for level in (0.9, 0.95)}
    out = {}
    for method, name in names.items():
        if not method:
            out[name] = of_result(truth, result) | seconds
            continue
        row = {"estimate": float(tables[0.9].loc[method, "estimate"]), "truth": truth}
        for level, table in tables.items():
            row |= {f"low{level:g}": table.loc[method, "lower"], f"high{level:g}": table.loc[method, "upper"]}
        out[name] = row
    return out


def of_result(truth: float, result: Any, term: int = 0) -> dict[str, float]:
    out = {"estimate": float(result.estimate.iloc[term]), "truth": truth}
    for level in (0.9, 0.95):
        out[f"low{level:g}"], out[f"high{level:g}"] = result.interval(level).to_numpy()[term]
    return out


def normal(truth: float, estimate: float, std_error: float) -> dict[str, float]:
    """Of a peer that gives an estimate and a standard error."""
    out = {"estimate": float(estimate), "truth": truth}
    for level, z in ((0.9, 1.6448536), (0.95, 1.959964)):
        out[f"low{level:g}"], out[f"high{level:g}"] = estimate - z * std_error, estimate + z * std_error
    return out


def refusal(truth: float) -> dict[str, float]:
    nan = float("nan")
    return {"estimate": nan, "truth": truth, "low0.9": nan, "high0.9": nan, "low0.95": nan, "high0.95": nan}

"""What remains of a disparity after thresholds for each group were chosen on half of the labels."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import pandas as pd

from benchmarks.estimands.case import Answers, Case, answer, of_result, refusal
from icl.inference import Disparity, equalize

ESTIMAND = Disparity("approved", "sex", "equal opportunity", "repaid", versus="m")


def draw(rng, n: int, N: int) -> pd.DataFrame:
    """A score that is raised for men, and decisions by one threshold on it; `p` predicts repayment."""
    sex, x = np.where(rng.random(n + N) < 0.5, "f", "m"), rng.normal(size=n + N)
    repaid = (rng.random(n + N) < 1 / (1 + np.exp(-1.5 * x))) * 1.0
    score = 1 / (1 + np.exp(-(1.5 * x + 0.8 * (sex == "m") + 0.5 * rng.normal(size=n + N))))
    table = pd.DataFrame({"sex": sex, "score": score, "approved": (score > 0.5) * 1.0, "repaid": repaid})
    table.loc[n:, "repaid"] = np.nan
    return table.assign(p=1 / (1 + np.exp(-x)))


@cache
def _scores_of_payers() -> dict[str, np.ndarray]:
    population = draw(np.random.default_rng(99), 1_000_000, 0)
    payers = population[population["repaid"] == 1]
    return {group: np.sort(part["score"].to_numpy()) for group, part in payers.groupby("sex")}


def _rate(group: str, threshold: float) -> float:
    scores = _scores_of_payers()[group]
    return 1 - np.searchsorted(scores, threshold) / len(scores)


def equalized(rng, n: int, N: int) -> Answers:
    table, start = draw(rng, n, N), time.perf_counter()
    try:
        rule = equalize(ESTIMAND, table, "score", predictions="p")
    except ValueError:
        return {"what remains": refusal(np.nan)}
    seconds = {"seconds": time.perf_counter() - start}
    truth = _rate("f", rule.thresholds["f"]) - _rate("m", rule.thresholds["m"])
    seen = table[rule.choosing].assign(approved=rule.decide(table[rule.choosing]).astype(float))
    return {
        "what remains": of_result(truth, rule.remaining) | seconds,
        "on the rows that chose": answer(truth, ESTIMAND, labeled=seen),
    }


def _case(n: int, N: int) -> Case:
    name = f"{n} labels, {N} unlabeled rows"
    return Case("Equal opportunity within .02 by thresholds", name, lambda rng: equalized(rng, n, N))


CASES = [_case(200, 1000), _case(600, 3000)]

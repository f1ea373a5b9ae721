"""Quantiles of predictions that are counted in bins are those of predictions in memory, whatever the bins."""

import functools

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from icl.inference import Quantile, infer
from icl.inference.engine import quantile_bins


def table(seed: int, n: int, N: int, step: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Labeled and unlabeled rows; with a step > 0, predictions and outcomes are multiples of it."""
    rng = np.random.default_rng(seed)
    y = rng.standard_t(4, n + N)
    f = 0.8 * y + 0.5 * rng.normal(size=n + N) + 0.3
    if step:
        y, f = np.round(y / step) * step, np.round(f / step) * step
    return pd.DataFrame({"y": y[:n], "f": f[:n]}), pd.DataFrame({"f": f[n:]})


def nulls_of(labeled, unlabeled) -> list[float]:
    return [-99.0, *labeled["y"][:4], *np.quantile(unlabeled["f"], [0.05, 0.3, 0.5, 0.7, 0.95]), 99.0]


def numbers_of(result, nulls: list[float]) -> tuple:
    """Intervals; p-values; the methods beside one another."""
    intervals = [result.interval(level) for level in (0.3, 0.95, 0.999)]
    sides = ("two-sided", "larger", "smaller")
    p_values = np.array([[result.p_value(null, alternative=side).iloc[0] for side in sides] for null in nulls])
    return intervals, p_values, result.compare().select_dtypes("number")


@functools.cache
def in_memory(case: tuple, q: float, weight) -> tuple:
    """The answer that is compared with, whatever the bins, and its numbers."""
    labeled, unlabeled = table(*case)
    result = infer(Quantile("y", q), labeled=labeled, unlabeled=unlabeled, predictions="f", weight=weight)
    return result, *numbers_of(result, nulls_of(labeled, unlabeled))


CASES = [(0, 12, 300, 0.0), (1, 30, 2_000, 0.0), (2, 200, 5_000, 0.0), (3, 40, 900, 0.25), (4, 25, 40, 0.0)]


QUANTILES, BINS = (0.1, 0.5, 0.9), (2, 64, 4_096)


@pytest.mark.parametrize("bins", BINS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bins_give_the_answers_of_memory(case, bins, monkeypatch):
    """Every weight under all bins of every table, and with each weight and bins every quantile, of some table."""
    monkeypatch.setattr(quantile_bins, "BINS", bins)
    labeled, unlabeled = table(*case)
    batches = lambda: (unlabeled[i : i + 500] for i in range(0, len(unlabeled), 500))
    for k, weight in enumerate(("auto", "ppi++", 1, -0.4)):
        q = QUANTILES[(case[0] + BINS.index(bins) + k) % 3]
        memory, intervals, p_values, theirs = in_memory(case, q, weight)
        stream = infer(Quantile("y", q), labeled=labeled, unlabeled=batches, predictions="f", weight=weight)
        assert_allclose(stream.estimate, memory.estimate, rtol=1e-12)
        assert_allclose(stream.covariance, memory.covariance, rtol=1e-9)
        found = numbers_of(stream, nulls_of(labeled, unlabeled))
        for ours, wanted in zip(found[0], intervals, strict=True):
            assert_allclose(ours, wanted, rtol=1e-12)
        assert_allclose(found[1], p_values, atol=1e-9)
        ours = found[2]
        assert theirs.size and ours.index.equals(theirs.index)
        assert_allclose(ours, theirs, rtol=1e-9)


def test_an_answer_holds_few_of_the_predictions(monkeypatch):
    """The bins that decide estimate and intervals hold less than a tenth of the rows, and come in two passes."""
    labeled, unlabeled = table(5, 2_000, 400_000, 0.0)
    passes, fetched, values_of = [], [], quantile_bins.Bins.values_of

    def counted(self, bins):
        found = values_of(self, bins)
        fetched.append(len(found))
        return found

    monkeypatch.setattr(quantile_bins.Bins, "values_of", counted)
    batches = lambda: passes.append(1) or iter([unlabeled])
    result = infer(Quantile("y"), labeled=labeled, unlabeled=batches, predictions="f")
    result.interval(0.95)
    assert len(fetched) == 1 and 0 < fetched[0] < 0.1 * len(unlabeled)
    assert len(passes) == 3  # one to check and count the rows, then the two

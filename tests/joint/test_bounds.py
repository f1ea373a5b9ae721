"""What draws may not pass: natural bounds, the ends of grades, the last date; and what has no bound."""

import warnings

import numpy as np
import pandas as pd
import pytest

import icl
from icl.joint.kinds import Kind

N = 120


def uniform(low, high):
    return lambda rng, z: low + (high - low) * (0.5 + 0.5 * np.clip(np.tanh(z) + 0.3 * rng.uniform(-1, 1, N), -1, 1))


COLUMNS = {
    "grades": (lambda rng, z: np.clip(np.round(3 + z + 0.6 * rng.normal(size=N)), 1, 5), (1, 5)),
    "digits": (lambda rng, z: rng.integers(0, 10, N).astype(float), (0, 9)),
    "counts": (lambda rng, z: rng.poisson(np.exp(1 + 0.3 * z)).astype(float), (0, np.inf)),
    "amounts": (lambda rng, z: np.exp(0.3 * z) * rng.gamma(2, size=N), (0, np.inf)),
    "percentages": (uniform(0, 100), (0, 100)),
    "shares": (lambda rng, z: rng.beta(2, 2, N), (0, 1)),
}


def drawn(values, z, gaps):
    table = pd.DataFrame({"v": pd.Series(values).where(~gaps), "z": z})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", icl.ImputationWarning)
        imputed = icl.impute(table, m=4, checkpoint="nano")
    return np.concatenate([one["v"][gaps].to_numpy() for one in imputed])


@pytest.mark.parametrize("whole", [False, True], ids=["floats", "as they are"])
@pytest.mark.parametrize("name", COLUMNS)
def test_draws_stay_within_what_a_column_can_hold(name, whole):
    make, (low, high) = COLUMNS[name]
    for seed in range(2):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=N)
        values = pd.Series(make(rng, z))
        if whole and name in ("grades", "digits", "counts"):
            values = values.astype("Int64")
        said = drawn(values, z, rng.random(N) < 0.3).astype(float)
        assert low <= said.min() and said.max() <= high
        assert len(np.unique(said)) > 2


def test_durations_are_not_negative_and_no_date_is_in_the_future():
    rng = np.random.default_rng(0)
    z = rng.normal(size=N)
    gaps = rng.random(N) < 0.3
    waits = pd.to_timedelta(np.round(3600 * rng.exponential(size=N) * np.exp(0.3 * z)), unit="s")
    assert drawn(waits, z, gaps).astype("timedelta64[s]").astype(int).min() >= 0
    z, gaps = rng.normal(size=240), rng.random(240) < 0.3
    days = pd.Timestamp("2026-11-29") - pd.to_timedelta(np.round(rng.uniform(0, 700, 240)), unit="D")
    said = pd.to_datetime(drawn(days, z, gaps))
    assert said.max() <= days[~gaps].max() and said.min() >= days[~gaps].min()


@pytest.mark.parametrize("seed", range(6))
def test_normal_columns_far_from_zero_and_skewed_ones_upwards_have_no_bound(seed):
    rng = np.random.default_rng(seed)
    for values in (rng.normal(5, 1, N), rng.normal(0, 1, N), 600 + 9 * rng.normal(size=N)):
        kind = Kind.of(pd.Series(values))
        assert (kind.low, kind.high) == (-np.inf, np.inf)
    assert Kind.of(pd.Series(rng.exponential(size=N))).high == np.inf
    # Few whole numbers with a thin end go on; dates whose number falls off have no last one.
    tail = np.repeat([0, 1, 2, 3, 4], [60, 40, 15, 4, 1])
    assert Kind.of(pd.Series(tail.astype(float))).high == np.inf
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.round(100 * rng.normal(size=N)), unit="D")
    kind = Kind.of(pd.Series(days))
    seen = kind.numbers(pd.Series(days))
    assert kind.high > seen.max() and kind.low < seen.min()

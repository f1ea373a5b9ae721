"""Shares with few events: textbook intervals as special cases, duality, and coverage where t fails."""

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit
from scipy.stats import binom, binomtest
from sklearn.dummy import DummyClassifier
from statsmodels.stats.proportion import proportion_confint

from icl.inference import Design, Mean, Quantile, infer
from icl.inference.engine.shares import Outcomes, Share

LEVEL = 0.90


def events(k: int, n: int, N: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"y": np.r_[np.ones(k), np.zeros(n - k), np.full(N, np.nan)]})


@pytest.mark.parametrize(("k", "n"), [(1, 30), (4, 60), (25, 200), (57, 60)])
def test_without_predictions_they_are_the_textbook_intervals(k, n):
    result = infer(Mean("y"), events(k, n), reference="normal")
    assert_allclose(result.interval(LEVEL, kind="exact"), [proportion_confint(k, n, 0.1, "beta")], rtol=1e-9)
    assert_allclose(result.interval(LEVEL, kind="score"), [proportion_confint(k, n, 0.1, "wilson")], rtol=1e-9)
    for alternative, side in (("larger", "greater"), ("smaller", "less")):
        peer = binomtest(k, n, 0.1, side)
        assert_allclose(result.p_value(0.1, alternative, kind="exact").iloc[0], peer.pvalue, rtol=1e-9)
        bounds = result.interval(LEVEL, alternative, kind="exact").iloc[0]
        assert_allclose(bounds, peer.proportion_ci(LEVEL, "exact"), rtol=1e-9)


def test_the_kind_follows_the_number_of_events():
    for k, kind in ((4, "exact"), (15, "score"), (40, "t")):
        result = infer(Mean("y"), events(k, 100))
        assert_allclose(result.interval(), result.interval(kind=kind))
        assert_allclose(result.p_value(0.2), result.p_value(0.2, kind=kind))
        assert_allclose(result.compare().loc["classical", ["lower", "upper"]], result.interval())
        assert ("interval" in result.summary().split("term")[0].split("std. error")[1]) == (kind != "t")


@pytest.mark.parametrize("kind", ["exact", "score"])
@pytest.mark.parametrize("alternative", ["two-sided", "larger", "smaller"])
def test_interval_and_p_value_are_dual(kind, alternative):
    for estimate, worth in ((0.04, 71.3), (0.0, 40.0), (0.93, 55.5), (-0.01, 60.0)):
        share = Share(estimate, worth, 48.0)
        lower, upper = share.interval(kind, LEVEL, alternative)
        assert 0 <= lower < upper <= 1
        inside, outside = 1e-6, -1e-6
        if lower > 0:
            assert (
                share.p_value(kind, lower + inside, alternative)
                > 1 - LEVEL
                > share.p_value(kind, lower + outside, alternative)
            )
        if upper < 1:
            assert (
                share.p_value(kind, upper - inside, alternative)
                > 1 - LEVEL
                > share.p_value(kind, upper - outside, alternative)
            )
        assert share.p_value(kind, 1.2, "larger") == 1 and share.p_value(kind, 1.2, "smaller") == 0


def test_other_codes_of_the_two_values_carry_over():
    zero_one, other = infer(Mean("y"), events(5, 60)), infer(Mean("y"), 3 + 2 * events(5, 60))
    assert_allclose(other.interval(), 3 + 2 * zero_one.interval())
    assert_allclose(other.p_value(3.5), zero_one.p_value(0.25))
    flipped = infer(Mean("y"), 1 - events(5, 60))
    assert_allclose(flipped.interval().to_numpy(), 1 - zero_one.interval().to_numpy()[:, ::-1])


def test_other_estimands_have_t_intervals_only():
    with pytest.raises(ValueError, match="two-valued outcome"):
        infer(Mean("y"), {"y": np.arange(20.0)}).interval(kind="exact")
    with pytest.raises(ValueError, match="known are 'auto'"):
        infer(Mean("y"), events(5, 60)).interval(kind="wald")
    lower, upper = infer(Quantile("y"), events(20, 60)).interval().iloc[0]
    assert lower == 0 and upper in (0, 1)


@pytest.mark.parametrize(("p", "n", "signal"), [(0.05, 100, 3.0), (0.1, 100, 1.0)])
def test_coverage_with_few_events_is_two_sided_and_better_than_t(p, n, signal):
    rng, n_reps, N = np.random.default_rng(0), 2_500, 1_000
    z = rng.normal(size=(n_reps, n + N))
    grid = np.linspace(-8, 8, 2_001)
    density = np.exp(-(grid**2) / 2)
    at = np.linspace(-12, 6, 4_000)
    shares = np.array([(density * expit(a + signal * grid)).sum() / density.sum() for a in at[::40]])
    f = expit(np.interp(p, shares, at[::40]) + signal * z)
    y = (rng.uniform(size=(n_reps, n)) < f[:, :n]).astype(float)
    hits = {"exact": [], "score": [], "t": []}
    for row in range(n_reps):
        k = y[row].sum()
        if not 1 <= k <= n - 1:
            continue  # refused
        e, u = y[row] - y[row].mean(), f[row, :n] - f[row, :n].mean()
        weight = (u @ e) / (u @ u)
        gap = f[row].mean() - f[row, :n].mean()
        estimate = y[row].mean() + weight * gap
        rest = e - weight * u
        variance = rest @ rest / (n - 2) * (1 / n + gap**2 / (u @ u)) + weight**2 * f[row].var(ddof=1) / (n + N)
        share = Outcomes(y[row], 0.0, 1.0, len(y[row])).share(y[row].mean(), estimate, variance, n - 2)
        for kind in ("exact", "score"):
            lower, upper = share.interval(kind, LEVEL)
            hits[kind].append(lower <= p <= upper)
        hits["t"].append(abs(estimate - p) <= 1.6606 * math.sqrt(variance))
    rate = {kind: np.mean(h) for kind, h in hits.items()}
    noise = math.sqrt(LEVEL * (1 - LEVEL) / n_reps)
    assert LEVEL - 4 * noise < rate["exact"] < 0.95
    assert abs(rate["score"] - LEVEL) < 0.025  # approximate: .893 and .903 measured
    assert rate["t"] < rate["score"] - 0.01


def test_the_engine_gives_the_variance_used_above():
    rng = np.random.default_rng(1)
    f = rng.uniform(size=400) ** 4
    y = (rng.uniform(size=100) < f[:100]).astype(float)
    table = pd.DataFrame({"f": f, "y": np.r_[y, np.full(300, np.nan)]})
    result = infer(Mean("y"), table, predictions="f", weight="synsurr", std_error="residual")
    e, u = y - y.mean(), f[:100] - f[:100].mean()
    weight, gap = (u @ e) / (u @ u), f.mean() - f[:100].mean()
    rest = e - weight * u
    variance = rest @ rest / 98 * (1 / 100 + gap**2 / (u @ u)) + weight**2 * f.var(ddof=1) / 400
    assert_allclose(result.std_error.iloc[0] ** 2, variance, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_any_event_the_interval_is_the_textbook_one(value):
    """Rule of three: at the bound, no event among n rows is exactly as likely as the error rate says."""
    table = events(int(60 * value), 60, 300).assign(f=np.random.default_rng(0).uniform(size=360))
    for options in ({}, dict(predictions="f"), dict(predictor=DummyClassifier()), dict(predictions="f", weight=1)):
        result = infer(Mean("y"), table, **options)
        lower, upper = result.interval(LEVEL).iloc[0]
        assert_allclose([lower, upper], proportion_confint(60 * value, 60, 0.1, "beta"), rtol=1e-9)
        assert_allclose((1 - upper if value == 0 else lower) ** 60, 0.05, rtol=1e-9)
        assert_allclose(result.interval(0.95, "smaller" if value == 0 else "larger").iloc[0], [lower, upper], rtol=1e-9)
        assert abs(result.p_value(upper if value == 0 else lower).iloc[0] - 0.1) < 1e-9
        assert result.method == "classical" and [d.code for d in result.diagnostics] == ["no_event"]
        assert 0 < result.std_error.iloc[0] < 0.03 and result.gain.iloc[0] == 1
        assert "taken for those of an outcome of 0 and 1" in result.summary()
    assert "no_event" not in [d.code for d in infer(Mean("y"), events(1, 60)).diagnostics]


def test_without_any_event_uneven_rows_count_for_fewer():
    table = events(0, 60).assign(w=1 + 4.0 * (np.arange(60) < 30), school=np.arange(60) // 4)
    upper = lambda design: infer(Mean("y"), table, design=design).interval(LEVEL)["upper"].iloc[0]
    assert_allclose(upper(Design(weights="w")), 1 - 0.05 ** (1 / (180**2 / 780)), rtol=1e-9)
    assert_allclose(upper(Design(clusters="school")), 1 - 0.05 ** (1 / 15), rtol=1e-9)


@pytest.mark.parametrize(("p", "most"), [(0.02, 0.975), (0.055, 0.925)])
def test_coverage_with_draws_without_events_is_exact(p, most):
    """Summed over all counts of events, none included: at least nominal, and no wider than counts allow."""
    n, covered = 60, 0.0
    for k in range(31):
        lower, upper = infer(Mean("y"), events(k, n), level=LEVEL).interval(kind="exact").iloc[0]
        covered += binom.pmf(k, n, p) * (lower <= p <= upper)
    assert LEVEL <= covered < most
    assert (binom.pmf(0, n, p) > 0.05) == (infer(Mean("y"), events(0, n), level=LEVEL).interval()["upper"].iloc[0] > p)


def _groups(rates=(0.05, 0.05, 0.05), m=30, N=300, seed=0):
    rng = np.random.default_rng(seed)
    g = np.resize(np.arange(len(rates)), m * len(rates) + N)
    f = np.clip(np.take(rates, g) * rng.uniform(0.2, 1.8, size=len(g)), 0, 1)
    y = (rng.uniform(size=len(g)) < f) * 1.0
    return pd.DataFrame({"g": g, "f": f, "y": np.where(np.arange(len(g)) < m * len(rates), y, np.nan)})


@pytest.mark.parametrize("weight", [0, "auto", "ppi++", "coordinate", 1])
def test_a_group_without_events_has_the_interval_of_its_rows_alone(weight):
    table = _groups(rates=(0.0, 0.1, 0.5))
    result = infer(Mean("y", by="g"), table, predictions="f", weight=weight)
    alone = infer(Mean("y"), table[(table["g"] == 0) & table["y"].notna()])
    for level in (0.9, 0.95):
        assert_allclose(result.interval(level).loc["g=0"], alone.interval(level).loc["y"], rtol=1e-12)
    assert_allclose(result.p_value(0.05).loc["g=0"], alone.p_value(0.05)["y"], rtol=1e-12)
    assert_allclose(result.std_error["g=0"], alone.std_error["y"], rtol=1e-12)
    assert {d.code for d in result.diagnostics} >= {"no_event", "rare_event"}
    assert np.isfinite(result.to_frame().select_dtypes("number").to_numpy()).all()


def test_groups_of_labels_alone_are_analysed_as_if_each_were_alone():
    table = _groups(rates=(0.1, 0.4, 0.8), m=20).dropna().assign(z=lambda t: np.arange(len(t)) ** 1.5)
    for column in ("y", "z"):
        result = infer(Mean(column, by="g"), table)
        for g in range(3):
            alone = infer(Mean(column), table[table["g"] == g])
            assert_allclose(result.interval(0.9).loc[f"g={g}"], alone.interval(0.9).loc[column], rtol=1e-10)
            assert_allclose(result.df_terms[f"g={g}"], alone.df)


def test_shares_of_groups_and_their_differences_cover():
    """Three groups of 30 labels at 5%: .79 covered with t intervals."""
    hits, differences, n_reps = [], [], 150
    for r in range(n_reps):
        result = infer(Mean("y", by="g"), _groups(seed=r), predictions="f")
        interval = result.interval(0.9)
        hits += list((interval["lower"] <= 0.05) & (interval["upper"] >= 0.05))
        frame = result.differences(level=0.9)
        differences += list((frame["conf.low"] <= 0) & (frame["conf.high"] >= 0))
        outside = (frame["conf.low"] > 0) | (frame["conf.high"] < 0)
        assert ((frame["p.value"] < 0.1) == outside).all()
    assert np.mean(hits) > LEVEL - 4 * math.sqrt(LEVEL * (1 - LEVEL) / n_reps / 3)
    assert np.mean(differences) > LEVEL - 4 * math.sqrt(LEVEL * (1 - LEVEL) / n_reps)
    assert (result.interval(0.9)["lower"] >= 0).all()

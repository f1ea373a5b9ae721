"""Synthetic rows in an analysis: what they may not change, when they help, and pooling as a control."""

import numpy as np
import pandas as pd
import pytest

import icl
from icl.inference import OLS, Mean, Multinomial, infer


def rows(n: int, seed: int, slope: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return pd.DataFrame({"x": x, "y": slope * x + rng.normal(size=n)})


REAL = rows(60, 0)


@pytest.mark.parametrize("estimand", ["mean: y", "ols: y ~ x", "quantile: 0.5: y"])
@pytest.mark.parametrize("synthetic", [rows(2000, 1, slope=-5), rows(60, 2), REAL], ids=["wrong", "right", "copies"])
def test_rows_drawn_by_themselves_change_nothing(estimand, synthetic):
    alone, with_them = infer(estimand, labeled=REAL), infer(estimand, labeled=REAL, synthetic=synthetic)
    pd.testing.assert_series_equal(alone.estimate, with_them.estimate, check_exact=True)
    pd.testing.assert_frame_equal(alone.covariance, with_them.covariance, check_exact=True)
    assert "synthetic_cannot_help" in {finding.code for finding in with_them.diagnostics}


def test_pooling_is_shown_and_is_invalid():
    wrong = rows(5000, 1, slope=-5)
    result = infer("ols: y ~ x", labeled=REAL, synthetic=wrong)
    row = result.compare().loc[("pooled", "x")]
    assert not row["valid"] and row["note"].startswith("INVALID") and np.isnan(row["n_effective"])
    assert row["estimate"] < -4 and row["std_error"] < 0.2 * result.std_error["x"]
    assert "pooled" in result.to_html() and "pooled" not in infer("ols: y ~ x", labeled=REAL).to_html()
    together = pd.concat([REAL, wrong], ignore_index=True)
    assert row["estimate"] == infer("ols: y ~ x", labeled=together).estimate["x"]


def test_unlabeled_rows_and_predictions_go_on_counting():
    table = rows(300, 3)
    table["y"] = table["y"].where(np.arange(300) < 60)
    table["f"] = table["x"]
    alone = infer("mean: y", table, predictions="f")
    beside = infer("mean: y", table, predictions="f", synthetic=rows(500, 4))
    pd.testing.assert_series_equal(alone.std_error, beside.std_error, check_exact=True)
    assert list(beside.compare().index.get_level_values(0))[-1] == "pooled"


def linked(seed: int, n: int = 60, N: int = 600, slope: float = 1.0):
    """A table with outcomes of n rows, and a synthetic outcome for every row, from a generator with this slope."""
    table = rows(n + N, seed).set_axis([f"r{i}" for i in range(n + N)])
    rng = np.random.default_rng([seed, 1])
    drawn = table[["x"]].assign(y=slope * table["x"] + rng.normal(size=n + N), row=table.index)
    order = rng.permutation(n + N)
    return table.assign(y=table["y"].where(np.arange(n + N) < n)), drawn.iloc[order]


def test_rows_drawn_for_real_rows_help_if_they_are_good_and_cost_nothing_if_not():
    table, good = linked(5, slope=1.0)
    alone = infer(Mean("y"), table)
    copies = good.assign(y=good["x"])
    helped = infer(Mean("y"), table, synthetic=(copies, "row"))
    assert helped.std_error.item() < 0.9 * alone.std_error.item()
    noise = good.assign(y=np.random.default_rng(0).normal(size=len(good)))
    unhelped = infer(Mean("y"), table, synthetic=(noise, "row"))
    assert 0.97 * alone.std_error.item() < unhelped.std_error.item() < 1.03 * alone.std_error.item()
    as_predictions = infer(Mean("y"), table, predictions=copies.set_index("row")["y"].loc[table.index])
    assert helped.estimate.item() == as_predictions.estimate.item()
    assert "synthetic_may_have_seen" in {finding.code for finding in helped.diagnostics}


@pytest.mark.parametrize("slope", [1.0, -3.0])
def test_intervals_cover_whatever_the_generator(slope):
    n_reps, covered, pooled = 60, 0, 0
    for seed in range(n_reps):
        table, drawn = linked(1000 + seed, n=40, N=200, slope=slope)
        result = infer(OLS("y ~ x"), table, synthetic=(drawn, "row"))
        low, high = result.interval().loc["x"]
        covered += low < 1.0 < high
        row = result.compare().loc[("pooled", "x")]
        pooled += row["lower"] < 1.0 < row["upper"]
    assert abs(covered / n_reps - 0.95) < 4 * np.sqrt(0.95 * 0.05 / n_reps)
    assert slope == 1.0 or pooled / n_reps < 0.1  # a right generator is the one thing that makes pooling cover


def test_out_of_fold_rows_of_a_generator():
    """`generate(folds=)` draws for a labeled row without its outcome."""
    table, _ = linked(7, n=60, N=60)
    labeled = table.dropna()
    drawn = icl.generate(labeled, given=table[["x"]], folds=5, model="quick", orders=1)
    assert drawn.index.equals(table.index) and drawn.attrs["folds"] == 5
    result = infer("ols: y ~ x", table, synthetic=(drawn.assign(row=drawn.index), "row"))
    codes = {finding.code for finding in result.diagnostics}
    assert not codes & {"synthetic_may_have_seen", "synthetic_cannot_help"}
    # A row's own outcome does not move what is drawn for it.
    moved = labeled.assign(y=labeled["y"].where(labeled.index != "r3", 50.0))
    again = icl.generate(moved, given=table[["x"]], folds=5, model="quick", orders=1)
    assert again.loc["r3", "y"] == drawn.loc["r3", "y"] and not again.equals(drawn)
    with pytest.raises(ValueError, match="folds= needs given"):
        icl.generate(labeled, 5, folds=5)


def test_without_unlabeled_rows_linked_ones_cannot_help():
    table, drawn = linked(8)
    labeled = table.dropna()
    result = infer(Mean("y"), labeled=labeled, synthetic=(drawn, "row"))
    assert result.estimate.item() == infer(Mean("y"), labeled=labeled).estimate.item()
    assert "synthetic_cannot_help" in {finding.code for finding in result.diagnostics}


def test_what_cannot_be_used_is_refused():
    table, drawn = linked(9)
    for synthetic, message in (
        (drawn[["x"]], "has no column|have no column|lack"),
        ((drawn, "id"), "id"),
        ((drawn[:10], "row"), "have no synthetic row"),
        ((drawn.assign(x=0.0), "row"), "differs from that of the real row"),
        (drawn.assign(y=np.nan), "lack a value"),
    ):
        with pytest.raises(ValueError, match=message):
            infer(OLS("y ~ x"), table, synthetic=synthetic)
    with pytest.raises(ValueError, match="are predictions"):
        infer(Mean("y"), table.assign(f=0.0), predictions="f", synthetic=(drawn, "row"))
    with pytest.raises(ValueError, match="one outcome of numbers"):
        labels = table.assign(y=np.where(table["y"].isna(), None, np.where(table["y"] > 0, "a", "b")))
        infer(Multinomial("y ~ x"), labels, synthetic=(drawn.assign(y="a"), "row"))
    with pytest.raises(ValueError, match="compat"):
        infer(Mean("y"), table, synthetic=drawn, compat="ppi_py")

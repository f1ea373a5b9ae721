"""One number far from all others: what is drawn stays like the others, and a line that reaches so far is believed."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import icl
from icl.joint.column import MODELS, fit_column
from icl.joint.strays import Strays
from icl.joint.warp import straight_part
from icl.tables.strays import are_strays, chance_together, strays_beside

OPTIONS = {"checkpoint": "nano", "n_estimators": 1}
ERRORS = {
    "one huge": lambda v, rows: {rows[0]: 1e3},
    "one very negative": lambda v, rows: {rows[0]: -1e3},
    "a point forgotten": lambda v, rows: {rows[0]: v[rows[0]] * 1e4 + 200},
    "a code": lambda v, rows: dict.fromkeys(rows[:6], 999.0),
    "two of either sign": lambda v, rows: {rows[0]: 700.0, rows[1]: -400.0},
    "beyond all": lambda v, rows: {rows[0]: 1e30},
    "beyond float32": lambda v, rows: {rows[0]: 1e300},
}


def a_table(seed, n=80, noise="normal"):
    """y of x and z; the gaps of y; and the table as it would be without an error."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, n))
    e = {"normal": rng.normal(size=n), "even": rng.uniform(-1.7, 1.7, n), "skewed": rng.exponential(size=n)}[noise]
    y = 4 + x - 0.5 * z + 0.5 * e
    return pd.DataFrame({"x": x, "z": z, "y": y}), rng.random(n) < 0.25


def drawn(table, gaps, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", icl.ImputationWarning)
        imputed = icl.impute(table.assign(y=table["y"].where(~gaps)), m=5, seed=1, **OPTIONS, **options)
    return np.stack([one["y"].to_numpy()[gaps] for one in imputed])


@pytest.mark.parametrize("budget", [4e6, 0], ids=MODELS)
@pytest.mark.parametrize("column", ["y", "x"])
@pytest.mark.parametrize("name", ERRORS)
def test_errors_in_few_cells_leave_most_draws_as_they_were(name, column, budget):
    table, gaps = a_table(0)
    truth = table["y"].to_numpy()[gaps]
    before = drawn(table, gaps, budget=budget) - truth
    wrong = ERRORS[name](table[column].to_numpy(), np.flatnonzero(~gaps)[3:])
    for row, value in wrong.items():
        table.loc[row, column] = value
    after = drawn(table, gaps, budget=budget) - truth
    assert np.median(np.abs(after)) < 1.35 * np.median(np.abs(before)) + 0.05
    assert np.quantile(np.abs(after), 0.8) < 1.6 * np.quantile(np.abs(before), 0.8) + 0.1
    # Of a column that is drawn, errors come as often as they were seen, and no oftener.
    expected = len(wrong) / (~gaps).sum() * after.size if column == "y" else 0.0
    assert abs((np.abs(after) > 50).sum() - expected) <= 4.5 * np.sqrt(expected * (1 + len(gaps) / (~gaps).sum()))


@pytest.mark.parametrize("budget", [4e6, 0], ids=MODELS)
def test_an_error_where_the_column_is_asked_about_leaves_its_draw_among_the_others(budget):
    table, gaps = a_table(1)
    table.loc[np.flatnonzero(gaps)[:2], "x"] = [-999.0, 5e6]
    after = drawn(table, gaps, budget=budget)
    seen = table["y"][~gaps]
    assert seen.min() - np.ptp(seen) < after.min() and after.max() < seen.max() + np.ptp(seen)


@pytest.mark.parametrize("known", [True, False])
def test_a_line_that_reaches_far_numbers_is_believed(known):
    """x of 300 and 200 with y on their line; asked about another 250."""
    table, gaps = a_table(2)
    rows = np.flatnonzero(~gaps)[:2]
    table.loc[rows, "x"] = [300.0, 200.0]
    table.loc[rows, "y"] = 4 + table.loc[rows, "x"] - 0.5 * table.loc[rows, "z"]
    asked = np.flatnonzero(gaps)[0]
    if not known:  # only one of them tells
        gaps[rows[1]] = True
    table.loc[asked, "x"] = 250.0
    said = drawn(table, gaps)[:, np.flatnonzero(gaps) == asked]
    assert_allclose(said, 254, atol=20)


@pytest.mark.parametrize("budget", [4e6, 0], ids=MODELS)
@pytest.mark.parametrize("beside", ["levels", "a flag", "a number", "nothing else"])
@pytest.mark.parametrize("share", [0.03, 0.15])
def test_a_rare_group_with_numbers_of_its_own_keeps_them(share, beside, budget):
    """Companies among persons: what another column tells apart is no error, whatever its share."""
    rng = np.random.default_rng(3)
    n = 160
    group = np.arange(n) < round(share * n)
    y = np.where(group, 5000.0, 50 + 5 * rng.normal(size=n))
    gaps = rng.random(n) < 0.3
    gaps[:3] = [True, False, False]
    X = {
        "levels": {"type": np.where(group, "company", "person"), "x": rng.normal(size=n)},
        "a flag": {"flag": group.astype(float), "x": rng.normal(size=n)},
        "a number": {"size": np.where(group, rng.uniform(8, 9, n), rng.normal(size=n)), "x": rng.normal(size=n)},
        "nothing else": {"type": np.where(group, "company", "person")},
    }[beside]
    said = drawn(pd.DataFrame({**X, "y": y}), gaps, budget=budget)
    assert (said[:, group[gaps]] > 1000).mean() > 0.8
    assert (said[:, ~group[gaps]] > 1000).mean() < 0.02


def test_where_a_line_hardly_errs_it_goes_on_to_cells_of_which_nothing_is_known():
    rng = np.random.default_rng(5)
    gross = np.append(100 + 10 * rng.normal(size=99), 20_000.0)
    table = pd.DataFrame({"gross": gross, "z": rng.normal(size=100), "y": 0.81 * gross})
    gaps = np.append(rng.random(99) < 0.2, True)
    assert_allclose(drawn(table, gaps)[:, -1], 0.81 * 20_000, rtol=0.01)


@pytest.mark.parametrize("n_known", [11, 15, 25])
def test_few_rows_are_enough_to_set_an_error_aside(n_known):
    table, _ = a_table(7, n_known + 8)
    gaps = np.arange(len(table)) >= n_known
    table.loc[2, "y"] = 500.0
    said = drawn(table, gaps)
    assert ((np.abs(said - 4) > 8) & (np.abs(said - 500) > 8)).mean() < 0.05


def test_means_of_draws_are_those_of_common_numbers():
    table, gaps = a_table(8)
    truth = table["y"].to_numpy()[gaps]
    table.loc[np.flatnonzero(~gaps)[0], "y"] = 1e6
    table["y"] = table["y"].where(~gaps)
    with pytest.warns(icl.ImputationWarning, match="column 'y' holds 1000000.0, far from"):
        imputed = icl.impute(table, m=4, **OPTIONS)
    with pytest.warns(icl.ImputationWarning, match="column 'y' holds 1000000.0, far from"):
        filled = icl.ICLImputer(fill="mean", m=4, checkpoint="nano").fit_transform(table)
    for mean in (imputed.mean()["y"].to_numpy()[gaps], np.asarray(filled)[gaps, 2].astype(float)):
        assert np.sqrt(np.mean((mean - truth) ** 2)) < 1.5


def test_a_long_tail_is_no_error():
    """Products and ratios of common columns: their largest numbers lie far out, and others lie on the way there."""
    taken = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        product = rng.normal(size=(60, 3)).prod(1)
        profit = np.exp(rng.normal(size=120)) * rng.normal(size=120)
        taken += are_strays(product).any() + are_strays(profit).any()
    assert taken <= 6


@pytest.mark.parametrize("noise", ["normal", "even", "skewed"])
def test_nothing_strays_in_common_columns(noise):
    kept = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(10, 400))
        table, _ = a_table(seed, n, noise)
        logs = rng.normal(size=n)
        wide = {"income": np.exp(logs), "wealth": np.exp(2 * logs), "t": rng.standard_t(3, n)}
        counts = {"count": rng.poisson(3, n), "mostly none": rng.poisson(0.2, n), "bounded": rng.beta(0.3, 0.3, n)}
        for column in {**{c: table[c].to_numpy() for c in table}, **wide, **counts}.values():
            kept += are_strays(np.asarray(column, float)).sum()
    assert kept <= 4  # of some 70,000, nearly all of them t


def test_a_table_without_strays_is_imputed_as_if_they_were_not_looked_for(monkeypatch):
    table, gaps = a_table(3, noise="skewed")
    plain = drawn(table, gaps)
    for place in ("tables.strays", "joint.kinds", "joint.warp", "joint.marginal"):
        monkeypatch.setattr(f"icl.{place}.are_strays", lambda numbers: np.zeros(len(numbers), bool))
    assert_array_equal(drawn(table, gaps), plain)


def test_strays_are_found_whatever_the_unit_and_the_order():
    rng = np.random.default_rng(0)
    numbers = np.append(rng.normal(size=60), [80.0, np.nan])
    found = are_strays(numbers)
    assert found.sum() == 1 and found[60]
    for scale, start in ((1e-9, 0.0), (1e9, 0.0), (-3.0, 0.0), (1.0, 50.0)):
        assert_array_equal(are_strays(scale * numbers + start), found)
    order = rng.permutation(len(numbers))
    assert_array_equal(are_strays(numbers[order]), found[order])
    # A tenth of the rows far out are a group; of one value, a code.
    group = np.append(rng.normal(size=54), 80 + rng.normal(size=6))
    assert not are_strays(group).any() and are_strays(np.append(group[:54], np.full(6, 80.0))).sum() == 6


def test_logarithms_are_looked_at_too():
    rng = np.random.default_rng(1)
    wealth = np.exp(2 * rng.normal(size=300))
    assert not are_strays(np.append(wealth, 3_000)).any()
    assert are_strays(np.append(wealth, 1e9)).sum() == 1


@pytest.mark.parametrize("model", MODELS)
def test_densities_integrate_to_one_with_the_share_of_strays(model):
    table, _ = a_table(4, 60)
    table.loc[7, "y"] = 90.0
    column = fit_column(table[["x", "z"]], table["y"], model=model, options=OPTIONS)
    assert column.strays is not None and column.strays.share == pytest.approx(1 / 60)
    grid = np.concatenate([np.linspace(-30, 30, 6001), np.linspace(30, 90, 601)[1:]])
    row = table[["x", "z"]].iloc[[0] * len(grid)]
    density = np.exp(column.log_density(row, pd.Series(grid)))
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=0.02)
    assert np.trapezoid(density[grid >= 30], grid[grid >= 30]) == pytest.approx(60 / 60 / 90, rel=0.35)
    found = column.log_density(table[["x", "z"]], table["y"])
    assert np.isfinite(found).all() and found.argmin() == 7


def test_strays_are_drawn_at_their_share_beside_their_places():
    strays = Strays.of(np.array([1.0, 2.0, 3.0, 900.0]), np.array([1, 2, 1, 4]), np.array([False, False, False, True]))
    assert strays.share == 0.5 and strays.middle == 2.0
    said = strays.mixed(np.full(4000, 2.5), np.random.default_rng(0))
    assert set(np.unique(said)) == {2.5, 900.5}
    assert abs((said > 100).mean() - 0.5) < 4 * np.sqrt(0.25 / 4000)


def test_the_straight_part_knows_nothing_of_a_stray():
    table, _ = a_table(5)
    weight = np.ones(len(table))
    X, y = table[["x", "z"]], table["y"].to_numpy().copy()
    y[11] = 5e4
    rest = np.arange(len(y)) != 11
    found = straight_part(X, y, weight, None, far=are_strays(y))
    alone = straight_part(X[rest], y[rest], weight[rest], X)
    assert found.aside.sum() == 1 and found.aside[11] and not alone.aside.any()
    assert_allclose(found(found.encoded(X)), alone(alone.encoded(X)), atol=1e-6)


def test_impute_names_strays():
    table, gaps = a_table(6)
    table.loc[[1, 2, 3], "z"] = -999.0
    table.loc[np.flatnonzero(~gaps)[5], "y"] = 12345.5
    table["y"] = table["y"].where(~gaps)
    with pytest.warns(icl.ImputationWarning) as said:
        icl.impute(table, m=2, **OPTIONS)
    texts = " ".join(str(one.message) for one in said)
    assert "column 'z' holds -999.0 in 3 rows, far from" in texts and "column 'y' holds 12345.5, far from" in texts
    assert texts.count("as often as they were seen") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", icl.ImputationWarning)
        icl.impute(a_table(6)[0].assign(y=lambda t: t["y"].where(~gaps)), m=2, **OPTIONS)


def test_a_rare_group_is_not_named():
    rng = np.random.default_rng(3)
    group = np.arange(120) < 4
    fee = np.where(group, 5000.0, 50 + 5 * rng.normal(size=120))
    table = pd.DataFrame({"type": np.where(group, "company", "person"), "x": rng.normal(size=120), "fee": fee})
    table.loc[[3, 50, 60], "fee"] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error", icl.ImputationWarning)
        icl.impute(table, m=2, **OPTIONS)


def test_gaps_of_levels_do_not_stop_the_search():
    """A gap of a category has no name to be sorted among those of levels."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=60)
    numbers[:2] = 1e4, 2e4
    for rows, told_apart in ((slice(0, 2), True), (slice(0, 1), False)):
        levels = rng.choice(list("ab"), 60).astype(object)
        levels[rows] = None
        for kind in ("category", object):
            beside = pd.DataFrame({"g": pd.Series(levels, dtype=kind), "x": rng.normal(size=60)})
            found = strays_beside(beside, numbers)
            assert found.sum() == 2 and chance_together(beside.g, found) == pytest.approx(
                1 / 1770 if told_apart else 2 / 60
            )

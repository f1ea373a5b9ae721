"""Scales of columns: skewed ones in logarithms, others as they are; units and grids change nothing."""

import numpy as np
import pandas as pd
import pytest

from icl.joint.column import MODELS, fit_column
from icl.joint.impute import impute
from icl.joint.kinds import Kind
from icl.joint.warp import straight_part

OPTIONS = {"checkpoint": "nano"}
pytestmark = pytest.mark.filterwarnings("ignore::icl.ImputationWarning")


def drawn(seed: int, n: int = 150) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    return pd.DataFrame({"z": z, "size": np.exp(z + 0.3 * rng.normal(size=n)), "line": z + 0.3 * rng.normal(size=n)})


@pytest.mark.parametrize("seed", range(5))
def test_only_what_scatters_in_proportion_is_read_in_logarithms(seed):
    """Skewed with errors that grow: in logarithms. Normal, or skewed with errors of one size: as it is."""
    table = drawn(seed)
    rng, ones = np.random.default_rng(100 + seed), np.ones(len(table))
    scale = lambda X, y: straight_part(X, np.asarray(y), ones, None).warp.is_log
    assert scale(table[["z"]], table["size"])
    assert not scale(table[["size"]], table["line"] - table["line"].min() + 0.1)
    even = 3 * table["size"] + 0.5 * rng.normal(size=len(table))
    assert not scale(table[["size"]], even - even.min() + 0.1)


@pytest.mark.parametrize("model", MODELS)
def test_draws_scatter_in_proportion_and_densities_are_of_the_columns_own_units(model):
    table = drawn(0, 200)
    fitted = fit_column(table[["z"]], table["size"], model=model, options=OPTIONS)
    new = pd.DataFrame({"z": np.repeat([-1.5, 1.5], 400)})
    draws = np.log(fitted.draw(new, np.random.default_rng(0)).to_numpy()).reshape(2, 400)
    assert draws.std(axis=1) == pytest.approx([0.3, 0.3], rel=0.5)
    assert draws.mean(axis=1) == pytest.approx([-1.5, 1.5], abs=0.35)
    at = np.geomspace(0.02, 60, 4000)
    density = np.exp(fitted.log_density(pd.DataFrame({"z": np.full(4000, 0.5)}), pd.Series(at)))
    assert np.trapezoid(density, at) == pytest.approx(1, abs=0.05)


def test_what_lies_far_out_is_not_continued_farther():
    """A chain that multiplies what it drew would run away: three columns in proportion, most cells of each unknown."""
    rng = np.random.default_rng(1)
    z = 1.5 * rng.normal(size=80)
    table = pd.DataFrame({name: np.exp(z + 0.5 * rng.normal(size=80)) for name in "abc"})
    gaps = table.mask(rng.random(table.shape) < 0.5)
    for filled in impute(gaps, m=4, rounds=5, **OPTIONS):
        assert (filled.max() < 60 * gaps.max()).all() and (filled.min() > 0).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("model", MODELS)
def test_an_outlier_draws_no_greater_ones(model, seed):
    table = drawn(seed, 100)
    table.loc[0, "size"] = 1e6
    fitted = fit_column(table[["z"]], table["size"], model=model, options=OPTIONS)
    new = pd.DataFrame({"z": np.linspace(-8, 8, 2000)})
    draws = fitted.draw(new, np.random.default_rng(seed))
    assert draws.max() <= 1e6 * np.exp(2 * np.log(table["size"]).std()) * (1 + 1e-6)


@pytest.mark.parametrize("power", (-30, -14, 0, 3, 11, 12, 20, 40))
@pytest.mark.parametrize("digits", (None, 0, 2))
def test_units_do_not_matter_nor_does_the_grid(power, digits):
    """Draws of a rounded column lie on its grid, as finely as observed cells do, in every unit."""
    table = drawn(2, 60)
    cells = 20 + 5 * table["line"] if digits is None else (20 + 5 * table["line"]).round(digits)
    plain, other = (
        fit_column(table[["z"]], y, model="quick").draw(table[["z"]], np.random.default_rng(0))
        for y in (cells, np.ldexp(cells, power))
    )
    step = 0.0 if digits is None else 10.0**-digits
    assert np.abs(np.ldexp(other, -power) - plain).max() <= step + 1e-6
    assert other.nunique() >= 0.9 * plain.nunique()


@pytest.mark.parametrize("digits", (0, 1))
@pytest.mark.parametrize("spread", (3e-1, 3e1, 3e3, 3e6))
@pytest.mark.parametrize("budget", (0, 1e9))
def test_rounded_columns_of_any_spread_keep_their_own_grid(digits, spread, budget):
    """Whole numbers as floats, thousands apart, once were drawn on a grid of 4,096."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=60)
    cells = pd.Series(spread * (z + 0.1 * rng.normal(size=60))).round(digits)
    if cells.nunique() < 5:
        pytest.skip("levels rather than numbers")
    gap = np.arange(60) % 3 == 0
    table = pd.DataFrame({"z": z, "cells": cells.mask(gap)})
    [filled, _] = impute(table, m=2, seed=3, budget=budget, **OPTIONS)
    off = filled["cells"][gap] - spread * z[gap]
    assert np.sqrt(np.mean(off**2)) < 0.35 * spread + 10.0**-digits
    assert (filled["cells"] == filled["cells"].round(digits)).all()


@pytest.mark.parametrize("step", (1000, 250, 5, 0.5, 0.25, 0.125))
@pytest.mark.parametrize("dtype", ("float64", "Float64", "float32", "int64", "Int64"))
def test_multiples_stay_multiples(step, dtype):
    """Incomes in thousands, ages in fives, measures in eighths: drawn as 13,526 and 12.093, they once stood out."""
    if step < 1 and "int" in dtype.lower():
        pytest.skip("no whole numbers")
    rng = np.random.default_rng(6)
    z = rng.normal(size=60)
    cells = pd.Series((np.round(40 + 8 * (z + 0.1 * rng.normal(size=60))) * step), dtype=dtype)
    kind = Kind.of(cells)
    assert np.ldexp(kind.half_step, kind.power) == step / 2
    table = pd.DataFrame({"z": z, "cells": cells.where(np.arange(60) % 3 > 0)})
    [filled, _] = impute(table, m=2, rounds=1, budget=1e9 if dtype == "float64" else 0, **OPTIONS)
    found = filled["cells"].to_numpy(dtype=float) / step
    assert (found == np.round(found)).all() and len(np.unique(found)) > 8


@pytest.mark.parametrize(
    "cells, dtype", (([5, 5, 5, 5, 5, 10, 15, 20, 30, 90] * 6, "float64"), (range(-125, 126, 5), "int8"))
)
def test_bounds_that_are_no_multiples_draw_none(cells, dtype):
    kind = Kind.of(pd.Series(cells, dtype=dtype))
    found = np.ldexp(kind.snap(np.array([-1e4, 1.0, 2.4, 7.6, 1e4])), kind.power)
    if np.isfinite(kind.high):
        assert found.max() <= kind.high
    assert (found % 5 == 0).all() and found.min() >= np.ldexp(kind.low, kind.power) > -np.inf


def test_few_numbers_are_multiples_by_chance():
    assert Kind.of(pd.Series([2, 4, 8, 10])).half_step == 0.5
    assert Kind.of(pd.Series([2.0, 4.0, 8.0, 10.0, 1200.0])).half_step == 0.5
    assert Kind.of(pd.Series([1000, 3000, 8000, 4000])).half_step == 500


def test_a_shift_smaller_than_a_stride_shifts():
    rng = np.random.default_rng(7)
    table = pd.DataFrame({"z": rng.normal(size=60)})
    pay = np.round(40 + 8 * table["z"]) * 1000
    table["pay"] = pay.where(np.arange(60) % 3 > 0)
    plain, moved = (impute(table, m=2, rounds=1, budget=0, shift=shift) for shift in (None, {"pay": -0.05}))
    gap = table["pay"].isna()
    off = (moved[0]["pay"] - plain[0]["pay"])[gap]
    assert off.mean() == pytest.approx(-0.05 * pay.std(), abs=4 * 1000 / np.sqrt(12 * gap.sum()))


def test_a_hundred_bounds_shares_from_above_and_nothing_from_below():
    rng = np.random.default_rng(5)
    assert Kind.of(pd.Series(100 + np.exp(rng.normal(size=300)))).low != 100
    assert Kind.of(pd.Series(100 - 10 * np.exp(rng.normal(size=300)).clip(0, 10))).high == 100


@pytest.mark.parametrize("names", ([None, True], [pd.Timestamp("2020-01-01"), 3], ["same", ("a", 1)]))
@pytest.mark.parametrize("model", MODELS)
def test_predictors_in_logarithms_may_have_any_name(names, model):
    table = drawn(3, 80)
    X = pd.DataFrame({0: np.exp(table["z"]), 1: pd.array(np.exp(2 + table["line"]).round(), dtype="Float64")})
    X = X.set_axis(pd.Index(names, dtype=object, tupleize_cols=False), axis=1)
    fitted = fit_column(X, table["size"], model=model, options=OPTIONS)
    assert (fitted.draw(X, np.random.default_rng(0)) > 0).all()


@pytest.mark.parametrize("model", MODELS)
def test_a_zero_that_no_known_row_had_is_unlikely_and_no_more(model):
    table = drawn(4, 80)
    fitted = fit_column(table[["z"]], table["size"], model=model, options=OPTIONS)
    score = fitted.log_density(table[["z"]], table["size"])
    at_zero = fitted.log_density(table[["z"]], 0 * table["size"])
    assert (at_zero < score.min()).all() and (at_zero > -3000).all()


@pytest.mark.parametrize("digits, power", ((None, -30), (None, 0), (None, 30), (2, -30)))
@pytest.mark.parametrize("sign", (1, -1))
def test_a_bound_that_holds_many_rows_is_drawn_and_scored(digits, power, sign):
    """Zeros beside amounts that no grid holds were cut off with what lies below the bound: none was drawn."""
    rng = np.random.default_rng(6)
    table = drawn(6, 60)
    cells = table["size"].where(rng.random(60) < 0.5, 0.0)
    cells = sign * (cells if digits is None else cells.round(digits))
    cells = pd.Series(np.ldexp(cells if sign > 0 else 100 + cells.clip(-99), power))
    bound = cells.min() if sign > 0 else cells.max()
    fitted = fit_column(table[["z"]], cells, options=OPTIONS)
    draws = fitted.draw(table[["z"]], np.random.default_rng(0))
    share = np.exp(fitted.log_density(table[["z"]], pd.Series(np.full(60, bound)))).mean()
    assert 0.15 < (draws == bound).mean() < 0.85 and 0.15 < share < 0.85


@pytest.mark.parametrize("dtype", ("float16", "float32", "Float32", "float[pyarrow]"))
@pytest.mark.parametrize("digits, scale", ((0, 1), (1, 1), (0, 3000), (2, 0.1), (None, 1)))
def test_rounded_columns_of_few_bits_are_rounded(dtype, digits, scale):
    """In single precision 1.65 is 1.64999998, which seemed to be on no grid."""
    table = drawn(7, 60)
    numbers = (20 + 3 * table["line"]) * min(scale, 50 if dtype == "float16" else scale)
    numbers = numbers if digits is None else numbers.round(digits)
    numbers = numbers.astype("float16" if dtype == "float16" else "float32")
    kind = Kind.of(numbers.astype(dtype))
    assert kind.digits == digits
    snapped = kind.cells(kind.snap(kind.numbers(numbers.astype(dtype)) + 0.3 * kind.half_step))
    assert (snapped.to_numpy(dtype=float) == numbers.to_numpy(dtype=float)).all()

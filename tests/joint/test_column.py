"""One column from the others: what is drawn keeps its kind, follows its model, and is a function of seed and rows."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import icl
from icl.joint.column import MODELS, draw_each, fit_column
from icl.joint.kinds import Kind

OPTIONS = {"checkpoint": "nano"}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    z = rng.normal(size=120)
    return pd.DataFrame(
        {
            "number": z + 0.3 * rng.normal(size=120),
            "count": rng.poisson(np.exp(z / 2)),
            "rounded": np.round(z, 1),
            "income": np.exp(z),
            "share": rng.beta(0.5, 0.5, size=120),
            "text": np.where(z > 0.5, "high", np.where(z > -0.5, "middle", "low")),
            "yes": z > 0,
            "level": pd.Categorical([f"l{v}" for v in (z * 4).round().clip(-7, 7).astype(int)]),
            "day": pd.Timestamp("2020-03-01", tz="Europe/Berlin") + pd.to_timedelta((z * 20).round(), unit="D"),
            "lasts": pd.to_timedelta((60 + 10 * z).round(), unit="min"),
            "whole": pd.array((z * 10).round().astype(int), dtype="Int64"),
        }
    )


@pytest.mark.parametrize("model", MODELS)
def test_draws_keep_the_kind_of_their_column(table, model):
    for name in table:
        X, y = table.drop(columns=name), table[name]
        drawn = fit_column(X, y, model=model, options=OPTIONS).draw(X, np.random.default_rng(1))
        assert drawn.dtype == y.dtype and drawn.notna().all() and drawn.index.equals(y.index)
        if name in ("text", "yes", "level"):
            assert set(drawn) <= set(y)
    assert (fit_column(table[["number"]], table["income"], model=model, options=OPTIONS).kind.low) == 0.0


def test_bounds_and_grids_are_read_off_the_column(table):
    assert Kind.of(table["income"]).low == 0 and Kind.of(table["income"]).high == np.inf
    assert (Kind.of(table["share"]).low, Kind.of(table["share"]).high) == (0.0, 1.0)
    assert Kind.of(table["count"]).digits == 0 and Kind.of(table["rounded"]).digits == 1
    assert Kind.of(table["number"]).digits is None
    # Positive by a wide margin: a normal stays above 0 without a bound, and rows that are missing may be low.
    assert Kind.of(pd.Series(np.random.default_rng(0).normal(10, 1, 500))).low == -np.inf


def test_cells_come_back_as_they_were(table):
    for name in table:
        kind = Kind.of(table[name])
        back = kind.cells(kind.numbers(table[name]), table.index)
        pd.testing.assert_series_equal(back, table[name])
        gaps = table[name].where(np.arange(len(table)) % 3 > 0)
        assert np.isnan(kind.numbers(gaps)).sum() == 40


N = 60
DAYS = pd.Series(pd.date_range("2020-01-01", periods=N))
SENTINEL = DAYS.where(DAYS.index % 10 > 0, pd.Timestamp("9999-12-31"))
COUNTS = pd.Series(np.random.default_rng(0).poisson(3, N))
NARROW = {
    **{f"{unit} sentinel": SENTINEL.astype(f"M8[{unit}]") for unit in ("s", "ms", "us")},
    "sentinel in a zone": SENTINEL.dt.tz_localize("America/New_York"),
    "sentinel of Arrow": SENTINEL.astype("timestamp[us][pyarrow]"),
    "zone of Arrow": DAYS.dt.tz_localize("UTC").astype("timestamp[ms, tz=Europe/Berlin][pyarrow]"),
    "days of Arrow": DAYS.astype("date32[day][pyarrow]"),
    "1500": pd.Series(pd.date_range("1500-01-01", periods=N)),
    "first year": pd.Series(pd.date_range("0001-01-01", periods=N)),
    "nanoseconds": (DAYS + pd.to_timedelta(COUNTS, unit="ns")).astype("M8[ns]"),
    "last nanoseconds": pd.Series(pd.date_range(end="2262-04-11", periods=N).astype("M8[ns]")),
    "long durations": pd.Series(np.arange(N) * 10**11).astype("m8[s]"),
    **{dtype: COUNTS.astype(dtype) for dtype in ("uint8", "UInt8", "int8", "Int8", "uint64", "uint8[pyarrow]")},
    "full int8": pd.Series(np.linspace(-128, 127, N).round().astype("int8")),
    "never, in nanoseconds": DAYS.astype("M8[ns]").where(DAYS.index % 10 > 0, pd.Timestamp.max),
    "never, as int64": COUNTS.where(COUNTS.index % 10 > 0, 2**63 - 1),
    "full int64": pd.Series(2**63 - 2048 - np.arange(N) * 10**15),
    "large Int64": pd.Series(2**62 + np.arange(N) * 10**15).astype("Int64"),
    "float16": pd.Series(np.linspace(6e4, 65_000, N)).astype("float16"),
}


@pytest.mark.parametrize("name", NARROW)
def test_draws_stay_within_what_a_dtype_holds(name):
    y = NARROW[name].rename("y")
    kind = Kind.of(y)
    numbers = kind.numbers(y)
    back = kind.cells(numbers)
    assert back.dtype == y.dtype
    if np.abs(numbers).max() < 2**53:
        pd.testing.assert_series_equal(back, y)
    X = pd.DataFrame({"x": np.arange(N) % 7})
    drawn = kind.numbers(fit_column(X, y, model="quick").draw(X, np.random.default_rng(0)))
    room = np.ptp(numbers)
    assert (drawn >= numbers.min() - room).all() and (drawn <= numbers.max() + room).all()
    np.testing.assert_allclose(kind.numbers(back), numbers, rtol=1e-15)
    far = kind.cells(kind.snap(np.array([-1e30, 1e30])))
    assert far[0] <= back.min() and far[1] >= back.max() and str(far[0]) and str(far[1])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("other", ["s", "ms", "us", "ns"])
def test_dates_are_the_same_in_any_unit(unit, other):
    kind = Kind.of((DAYS + pd.Timedelta(hours=1)).astype(f"M8[{unit}]"))
    days = (DAYS + pd.Timedelta(hours=1)).astype(f"M8[{other}]")
    assert (kind.cells(kind.numbers(days)).array == days.array).all()
    late = pd.Series([pd.Timestamp("9999-12-31 01:00")]) if other != "ns" else days[:1]
    assert kind.numbers(late)[0] == (late.astype("M8[s]").astype("int64") // 3600)[0]


CODES = np.random.default_rng(1).integers(0, 300, N)
EVERY = np.random.default_rng(2).integers(-(2**62), 2**62, N)
SINCE = 1_704_067_200 * 10**9 + CODES
EXACT = {
    **{dtype: pd.Series(2**60 + CODES).astype(dtype) for dtype in ("int64", "Int64", "uint64", "int64[pyarrow]")},
    "beyond int64": pd.Series([2**63 + 5 + int(code) for code in CODES], dtype="UInt64"),
    "negative": pd.Series(-(2**60) - CODES),
    "as wide as int64": pd.Series(EVERY),
    "as wide as int64, repeated": pd.Series(EVERY[:5][CODES % 5]).astype("Int64"),
    "zero beside large": pd.Series(np.where(CODES > 150, 0, 2**61 + 1 + CODES * 10**15)),
    "two": pd.Series(2**60 + 1 + 2 * (CODES > 150)).astype("Int64"),
    "nanoseconds": pd.Series(SINCE.astype("M8[ns]")),
    "nanoseconds in a zone": pd.Series(SINCE.astype("M8[ns]")).dt.tz_localize("Asia/Tokyo"),
    "nanoseconds of Arrow": pd.Series(SINCE.astype("M8[ns]")).astype("timestamp[ns][pyarrow]"),
    "nanoseconds over years": pd.Series(np.abs(EVERY // 4).astype("M8[ns]")),
    "durations": pd.Series((10**18 + CODES).astype("m8[ns]")),
}


@pytest.mark.parametrize("name", EXACT)
def test_no_digit_is_lost(name):
    y = EXACT[name].rename("y")
    kind = Kind.of(y)
    pd.testing.assert_series_equal(kind.cells(kind.numbers(y)), y)
    X = pd.DataFrame({"x": np.arange(N) % 7})
    drawn = fit_column(X, y, model="quick").draw(X, np.random.default_rng(0))
    assert drawn.dtype == y.dtype and drawn.nunique() > min(y.nunique() - 1, 10)
    if y.nunique() < 10:
        assert set(drawn) <= set(y)
    table = X.assign(y=y.where(y.index % 9 > 0) if not name.startswith(("int64", "uint64", "neg", "zero")) else y)
    asked = table["y"].dropna().iloc[7]
    given = icl.generate(table, 10, given={"y": asked}, model="quick", orders=1)["y"]
    assert (given == asked).all() and given.dtype == table["y"].dtype


@pytest.mark.parametrize("power", [-1000, -530, -30, 40, 511, 1000])
@pytest.mark.parametrize("model", MODELS)
def test_units_do_not_matter(table, model, power):
    """A power of two changes no digit: 1e-160 or 1e154 are as good as 1, whose squares are zero and infinity."""
    X, rng = table[["count", "text"]], np.random.default_rng
    plain, scaled = table["number"], np.ldexp(table["number"], power)
    assert Kind.of(np.ldexp(table["income"], -abs(power))).low == 0
    one, other = (fit_column(X, y, model=model, options=OPTIONS) for y in (plain, scaled))
    np.testing.assert_allclose(other.draw(X, rng(0)), np.ldexp(one.draw(X, rng(0)), power), rtol=1e-5)
    density = other.log_density(X, scaled) + power * np.log(2)
    np.testing.assert_allclose(density, one.log_density(X, plain), atol=1e-3)
    alone, again = (fit_column(X[[]], y).log_density(X[[]], y) for y in (plain, scaled))
    np.testing.assert_allclose(again + power * np.log(2), alone, atol=1e-8)


@pytest.mark.parametrize("model", MODELS)
def test_draws_follow_a_linear_model(model):
    """Mean and spread given x, against the law that made the table, within four standard errors and a tenth of it."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=400)
    X, y = pd.DataFrame({"x": x}), pd.Series(2 * x + rng.normal(size=400), name="y")
    column = fit_column(X, y, model=model, options=OPTIONS)
    at = pd.DataFrame({"x": np.full(600, 1.0)})
    drawn = column.draw(at, np.random.default_rng(0)).to_numpy()
    assert abs(drawn.mean() - 2.0) < 0.35 and 0.8 < drawn.std() < 1.25
    score = column.log_density(X, y).mean()
    exact = stats.norm.logpdf(y, 2 * x, 1).mean()
    assert exact - 0.25 < score < exact + 0.35


@pytest.mark.parametrize("name", ["number", "count", "text", "whole"])
def test_log_density_is_a_density(table, name):
    """Masses of all levels, or of the grid, add up to one; a density integrates to one."""
    X = table[["rounded", "income"]]
    column = fit_column(X, table[name], options=OPTIONS)
    row = X.iloc[[0]]
    if name == "text":
        values = pd.Series(sorted(set(table[name])))
        weight = 1.0
    else:
        step = 0.01 if name == "number" else 1.0
        values = pd.Series(np.arange(-60, 61) * 1.0 if step == 1 else np.arange(-8, 8, step))
        values, weight = (values[values >= column.kind.low].reset_index(drop=True), step)
    many = pd.concat([row] * len(values), ignore_index=True)
    total = np.exp(column.log_density(many, values)).sum() * (weight if name == "number" else 1.0)
    assert total == pytest.approx(1.0, abs=0.02)


def test_same_seed_same_bits_and_the_company_changes_nothing(table):
    names = ["number", "text", "count"]
    others = [table.drop(columns=name) for name in names]
    fitted = [fit_column(X, table[name], options=OPTIONS, seed=5) for X, name in zip(others, names)]

    def draws():
        return draw_each(fitted, others, [np.random.default_rng(k) for k in range(3)])

    for one, again, X, model, k in zip(draws(), draws(), others, fitted, range(3)):
        pd.testing.assert_series_equal(one, again)
        alone = model.draw(X, np.random.default_rng(k))
        assert np.mean(np.asarray(one == alone)) > 0.95 or np.allclose(one.astype(float), alone.astype(float))


def test_without_other_columns_the_column_itself_is_drawn(table):
    column = fit_column(table[[]], table["income"])
    drawn = column.draw(table[[]], np.random.default_rng(0))
    assert drawn.min() >= table["income"].min() and abs(np.log(drawn).mean()) < 0.4
    constant = fit_column(table[["number"]], pd.Series(["a"] * 120))
    assert set(constant.draw(table[["number"]], np.random.default_rng(0))) == {"a"}


def test_rows_that_a_sample_left_out_are_not_there(table):
    weight = np.arange(120) % 3 > 0
    X, y = table[["income", "text"]], table["number"]
    weighted = fit_column(X, y, weight=weight * 2, options=OPTIONS).log_density(X, y)
    written = fit_column(X[weight], y[weight], options=OPTIONS).log_density(X, y)
    np.testing.assert_allclose(weighted, written, atol=0.02)


def test_what_cannot_be_modelled_is_refused(table):
    with pytest.raises(ValueError, match="known are 'network', 'quick'"):
        fit_column(table[["number"]], table["count"], model="trees")
    with pytest.raises(ValueError, match="no observed cell"):
        fit_column(table[["number"]], pd.Series([None] * 120, name="empty"))
    with pytest.raises(ValueError, match="infinite"):
        fit_column(table[["number"]], pd.Series([np.inf, 1.0, 2.0] * 40, name="far"))

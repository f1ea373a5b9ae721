"""Laws of `icl.generate`, conditions and constraints; and of log densities and outlier scores."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

import icl
from icl.joint.synthetic.constraints import Constraint


def mixed(n: int = 120, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.integers(20, 80, n)
    sex = rng.choice(["F", "M"], n)
    wage = age * 100 + 900 * (sex == "M") + rng.normal(0, 300, n)
    start = pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D")
    return pd.DataFrame(
        {
            "age": age,
            "sex": pd.Categorical(sex),
            "wage": np.where(rng.random(n) < 0.2, np.nan, wage.round(2)),
            "owns": age + rng.normal(0, 10, n) > 50,
            "visits": pd.array(np.where(rng.random(n) < 0.2, None, rng.poisson(2, n)), dtype="Int64"),
            "start": start,
            "end": start + pd.to_timedelta(rng.integers(1, 200, n), unit="D"),
        }
    )


TABLE = mixed()
quick = partial(icl.generate, model="quick", orders=1)  # a forest a column: fast, and no network is needed


@pytest.fixture(scope="module")
def drawn():
    return quick(TABLE, 90, seed=3, orders=2)


def test_kinds_are_kept(drawn):
    assert list(drawn.columns) == list(TABLE.columns) and (drawn.dtypes == TABLE.dtypes).all() and len(drawn) == 90
    assert list(drawn.index) == list(range(90))
    assert set(drawn["sex"].cat.categories) == {"F", "M"}
    assert np.allclose(drawn["wage"].dropna().round(2), drawn["wage"].dropna())
    assert (drawn["start"].dt.normalize() == drawn["start"]).all()
    assert (drawn["visits"].dropna() >= 0).all()


def test_gaps_come_as_often_as_they_are_there(drawn):
    many = quick(TABLE, 400)
    for name in TABLE:
        expected, n = TABLE[name].isna().mean(), len(many)
        assert abs(many[name].isna().mean() - expected) <= 4 * np.sqrt(
            expected * (1 - expected) * (1 / n + 1 / len(TABLE))
        )
    assert not drawn[["age", "sex", "owns", "start"]].isna().any().any()


def test_same_seed_same_rows_to_the_bit(drawn):
    pd.testing.assert_frame_equal(drawn, quick(TABLE, 90, seed=3, orders=2), check_exact=True)
    assert not drawn.equals(quick(TABLE, 90, seed=4, orders=2))


def test_the_network_draws_too(tiny_release):
    options = {"checkpoint": tiny_release, "orders": 2}
    one, two = (icl.generate(TABLE[["age", "sex", "wage"]], 30, seed=1, **options) for _ in range(2))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert (one.dtypes == TABLE[["age", "sex", "wage"]].dtypes).all()


def test_dependence_survives():
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    table = pd.DataFrame({"x": x, "y": 2 * x + rng.normal(0, 0.5, 300), "sign": np.where(x > 0, "plus", "minus")})
    drawn = quick(table, 300)
    assert drawn.corr(numeric_only=True).loc["x", "y"] > 0.9
    assert (np.where(drawn["x"] > 0, "plus", "minus") == drawn["sign"]).mean() > 0.8


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        ({"sex": "F"}, lambda t: t["sex"] == "F"),
        ({"sex": "F", "age": (60, 80)}, lambda t: (t["sex"] == "F") & t["age"].between(60, 80)),
        ({"age": 33, "wage": None}, lambda t: (t["age"] == 33) & t["wage"].isna()),
        ({"visits": [1, 2], "age": (None, 50)}, lambda t: t["visits"].isin([1, 2]) & (t["age"] <= 50)),
        ({"start": ("2021-03-01", None), "owns": True}, lambda t: (t["start"] >= "2021-03-01") & t["owns"]),
    ],
)
def test_conditions_hold(given, holds):
    drawn = quick(TABLE, 40, given=given, seed=5)
    assert holds(drawn).all() and len(drawn) == 40 and (drawn.dtypes == TABLE.dtypes).all()


def test_a_condition_moves_the_other_columns():
    young, old = (quick(TABLE, 80, given={"age": a}) for a in (25, 75))
    assert old["owns"].mean() > young["owns"].mean() + 0.4
    assert old["wage"].mean() > young["wage"].mean() + 3000


def test_a_condition_on_two_dependent_ranges_is_the_joint_one():
    """Of x uniform and y = x + noise: the conditioned x must follow its law given both ranges, not the first alone."""
    rng = np.random.default_rng(0)
    x = rng.random(1000)
    table = pd.DataFrame({"x": x, "y": x + rng.normal(0, 0.05, 1000)})
    drawn = quick(table, 150, given={"x": (0, 1), "y": (0.8, 0.9)})
    assert drawn["y"].between(0.8, 0.9).all() and abs(drawn["x"].mean() - 0.85) < 0.03


DAYS = pd.Series(pd.date_range("2020-01-01", periods=60))
HOURS = DAYS + pd.to_timedelta(np.arange(60) % 24, unit="h")
ASKED = pd.DataFrame(
    {
        "day": DAYS,
        "end": DAYS.where(DAYS.index % 10 > 0, pd.Timestamp("9999-12-31")),
        "here": HOURS.dt.tz_localize("America/New_York"),
        "arrow": HOURS.dt.tz_localize("UTC").astype("timestamp[us, tz=America/New_York][pyarrow]"),
        "lasts": pd.to_timedelta(np.arange(60) % 11 + 1, unit="h"),
        "int": np.arange(60) % 7,
        "Int": pd.array(np.arange(60) % 7, "Int64"),
        "byte": (np.arange(60) % 7).astype("uint8"),
        "float": np.arange(60) % 7.0,
    }
)


@pytest.mark.parametrize(
    ("name", "asked", "cell"),
    [
        ("end", pd.Timestamp("9999-12-31"), "9999-12-31"),
        ("day", "2020-02-01", "2020-02-01"),
        ("day", "13/02/2020", "2020-02-13"),
        ("day", "1 February 2020", "2020-02-01"),
        ("day", pd.Timestamp("2020-02-01").date(), "2020-02-01"),
        ("here", "2020-01-02 12:00", "2020-01-02 12:00:00-05:00"),
        ("here", pd.Timestamp("2020-01-02 12:00"), "2020-01-02 12:00:00-05:00"),
        ("here", np.datetime64("2020-01-02T12:00"), "2020-01-02 12:00:00-05:00"),
        ("here", "2020-01-02T12:00Z", "2020-01-02 07:00:00-05:00"),
        ("arrow", "2020-01-02 12:00", "2020-01-02 12:00:00-05:00"),
        ("lasts", "5h", "0 days 05:00:00"),
        ("int", 3.0, "3"),
        ("byte", 3, "3"),
    ],
)
def test_a_value_is_the_cell_that_was_meant(name, asked, cell):
    table = ASKED[[name]].assign(x=np.sin(np.arange(60.0)))
    assert str(quick(table, 2, given={name: asked})[name][0]).removesuffix(" 00:00:00") == cell
    frame = pd.DataFrame({name: pd.Series([asked, asked])})
    assert str(quick(table, given=frame)[name][0]).removesuffix(" 00:00:00") == cell


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_dates_far_off_stay_far_off(unit):
    end = ASKED["end"].astype(f"M8[{unit}]")
    years = quick(pd.DataFrame({"end": end, "x": np.sin(np.arange(60.0))}), 60)["end"].dt.year
    assert years.between(2019, 9999).all() and {2020, 9999} <= set(years) and (years == 2020).mean() > 0.7


def test_a_range_without_a_zone_is_in_that_of_the_column():
    table = ASKED[["here"]].assign(x=np.sin(np.arange(60.0)))
    found = quick(table, 20, given={"here": ("2020-01-20 00:00", "2020-01-22 00:00")})["here"].dt.tz_localize(None)
    assert found.between("2020-01-20", "2020-01-22").all()


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        *((name, 3.9, "whole numbers") for name in ("int", "Int", "byte", "float")),
        ("int", [1, 3.9], "whole numbers"),
        ("byte", -1, "from 0 to 255"),
        ("int", ("a", None), "holds int64"),
        ("day", "2020-01-10 13:00", "steps of 1 days"),
        ("day", ["2020-01-10", "2020-01-10 13:00"], "steps of 1 days"),
        ("day", "01/02/2020", "may be day/month or month/day; write 2020-03-31"),
        ("day", ("01/02/2020", None), "may be day/month"),
        ("day", "soon", "is no date"),
        ("day", 2020, "is no date"),
        ("day", "2020-01-10T00:00Z", "no time zone"),
        ("day", (pd.Timestamp("2020-01-10", tz="UTC"), None), "no time zone"),
        ("here", "2020-03-08 02:30", "nonexistent"),
        ("lasts", "5h 3min", "steps of"),
    ],
)
def test_a_value_that_no_cell_has_is_refused(name, asked, said):
    table = ASKED[[name]].assign(x=np.sin(np.arange(60.0)))
    with pytest.raises(ValueError, match=said):
        quick(table, 2, given={name: asked})


def test_a_table_of_conditions_keeps_its_index():
    asked = pd.DataFrame({"age": [30, 60, 45], "sex": ["F", "M", "F"]}, index=["a", "b", "c"])
    drawn = quick(TABLE, given=asked)
    assert list(drawn.index) == ["a", "b", "c"] and drawn["age"].tolist() == [30, 60, 45]
    assert drawn["sex"].tolist() == ["F", "M", "F"]


def test_constraints_hold():
    drawn = quick(TABLE, 120, constraints=["start <= end", lambda t: t["age"] > 18])
    assert (drawn["start"] <= drawn["end"]).all()
    free = quick(TABLE, 400)
    assert (free["start"] > free["end"]).any()  # else the test shows nothing


def test_what_cannot_be_kept_is_refused():
    with pytest.raises(ValueError, match=r"broken by .* of the 120 rows of the table itself"):
        quick(TABLE, 5, constraints="age > 50")
    with pytest.raises(ValueError, match="its levels are 'F', 'M'"):
        icl.generate(TABLE, 5, given={"sex": "X"})
    with pytest.raises(ValueError, match="nothing is known there"):
        icl.generate(TABLE, 5, given={"age": 400})
    with pytest.raises(ValueError, match="could not be drawn"):
        quick(TABLE, 5, given={"age": (400, 500)})
    with pytest.raises(ValueError, match="has no such column"):
        icl.generate(TABLE, 5, given={"height": 1})
    with pytest.raises(ValueError, match="the table has none"):
        icl.generate(TABLE, 5, given={"age": None})
    with pytest.raises(ValueError, match="a list of them"):
        icl.generate(TABLE, 5, given={"sex": ("F", "M")})
    with pytest.raises(ValueError, match="is empty"):
        icl.generate(TABLE, 5, given={"age": (60, 50)})
    with pytest.raises(ValueError, match=r"names rows.*drop"):
        icl.generate(TABLE.assign(name=[f"p{i}" for i in range(120)]), 5)
    for arguments in ({"rows": 0}, {"rows": 3, "seed": -1}, {"rows": 3, "orders": 0}, {"rows": True}):
        with pytest.raises(ValueError, match="whole number"):
            icl.generate(TABLE, **arguments)


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("a <= b", [True, False, True]),
        ("a + 1 < 2 * b or b == 0", [True, True, True]),
        ("not a > b and name != 'x'", [False, False, True]),
        ("0 <= a < 3", [True, True, True]),
        ("`odd name` > -1", [True, False, True]),
    ],
)
def test_expressions(text, truth):
    rows = pd.DataFrame({"a": [1, 2, np.nan], "b": [2.0, 0, 1], "name": ["x", "y", "z"], "odd name": [1, -1, np.nan]})
    assert Constraint(text, rows.columns).holds(rows).tolist() == truth


@pytest.mark.parametrize(
    "text",
    ["a", "a.b > 1", "f(a) > 1", "a[0] > 1", "__import__('os') == 1", "a <", "c > 1", "(lambda: 1)() > 0", "a in b"],
)
def test_expressions_do_nothing_else(text):
    with pytest.raises(ValueError, match=r"constraint|names"):
        Constraint(text, ["a", "b"])


def test_outliers_are_found_also_by_their_combination():
    rng = np.random.default_rng(1)
    x = rng.normal(size=150)
    table = pd.DataFrame({"x": x, "y": x + rng.normal(0, 0.1, 150), "z": rng.choice(["a", "b"], 150)})
    table.loc[10, ["x", "y"]] = 1.0, -1.0  # each is usual
    table.loc[20, "y"] = 9.0
    scores = icl.outlier_scores(table, model="quick")
    assert set(scores.nlargest(2).index) == {10, 20} and scores.index.equals(table.index)
    in_other_units = table.assign(x=table["x"] * 1000, y=table["y"] * 1e-3 + 5)
    others = icl.outlier_scores(in_other_units, model="quick")
    assert np.corrcoef(scores.rank(), others.rank())[0, 1] > 0.95


def test_gaps_do_not_make_outliers():
    rng = np.random.default_rng(2)
    for unit in (1e-3, 1e3):
        table = pd.DataFrame({"x": rng.normal(size=120) * unit, "y": rng.normal(size=120)})
        table.loc[::2, "x"] = np.nan
        scores = icl.outlier_scores(table, model="quick")
        assert abs(scores[::2].mean() - scores[1::2].mean()) < 1.5


def test_the_density_is_one():
    """Of levels alone, the masses of all rows there can be sum to one."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.choice(list("xyz"), 90), "b": rng.choice(list("uv"), 90)})
    table.loc[::9, "b"] = None
    cells = [(a, b) for a in "xyz" for b in ("u", "v", None)]
    found = icl.log_density(table, pd.DataFrame(cells, columns=["a", "b"]), model="quick")
    assert np.exp(found).sum() == pytest.approx(1, abs=0.03)


def test_density_of_rows_of_the_table_is_out_of_fold():
    table = TABLE[["age", "wage"]]
    found = icl.log_density(table, model="quick")
    assert found.index.equals(table.index) and np.isfinite(found).all()
    inside = icl.log_density(table, table, model="quick")
    assert inside.mean() > found.mean() and inside.corr(found, method="spearman") > 0.5
    with pytest.raises(ValueError, match="lack the columns"):
        icl.log_density(table, table[["age"]])
    with pytest.raises(ValueError, match="folds"):
        icl.log_density(table, folds=1)


@pytest.mark.parametrize("cell", [[1, 2], {"a": 1}, np.arange(2)])
def test_cells_that_hold_several_values_are_refused(cell):
    table = pd.DataFrame({"x": np.arange(30.0), "several": pd.Series([cell] * 30, dtype=object)})
    with pytest.raises(ValueError, match=r"'several' \(lists or records\)"):
        icl.generate(table, 5, model="quick")

"""Rows that are not like those of fit are named, and chance is not."""

import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icl import ICLClassifier, ICLRegressor, SchemaWarning
from icl.tables.encoder import TableEncoder

FEW = settings(max_examples=30, deadline=None)


def make_table(n: int, seed: int) -> pd.DataFrame:
    g = np.random.default_rng(seed)
    X = pd.DataFrame(
        {"height": g.normal(170, 10, n), "income": g.lognormal(10, 1, n), "year": 2000 + g.integers(0, 20, n)}
    )
    X["member"] = g.choice(["yes", "no"], n)
    X["region"] = g.choice(["North", "South east", "South west", "West"], n)
    X["code"] = [f"c{int(v)}" for v in g.geometric(0.15, n)]  # rare levels, some of them always new
    X.loc[g.random(n) < 0.3, "income"] = np.nan
    return X


def differences(fit: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    found: list[str] = []
    TableEncoder().fit(fit).transform(rows, found)
    return found


@FEW
@given(st.integers(0, 2**32), st.integers(1, 200))
def test_rows_of_the_same_kind_are_not_remarked_upon(seed, m):
    """Of some 500 columns, each at a chance of 1e-4."""
    both = make_table(120 + m, seed)
    assert len(differences(both[:120], both[120:])) <= 1


RESPELT = {
    "title and a space": lambda s: s.str.title() + " ",
    "upper": lambda s: s.str.upper(),
    "two spaces": lambda s: s.str.replace(" ", "  "),
}


@pytest.mark.parametrize("how", RESPELT)
@FEW
@given(seed=st.integers(0, 2**32), m=st.integers(4, 60))
def test_levels_in_another_spelling_are_found_with_their_own(how, seed, m):
    both = make_table(100 + m, seed)
    rows = both[100:].assign(region=RESPELT[how](both["region"][100:]))
    changed = int((rows["region"].str.strip() != both["region"][100:]).sum())
    said = [line for line in differences(both[:100], rows) if "'region'" in line]
    if changed:
        assert len(said) == 1 and f"{changed} of {m} cells" in said[0]
        assert any(f"did you mean {level!r}?" in said[0] for level in both["region"].unique())
    else:
        assert said == []


@FEW
@given(st.integers(0, 2**32), st.sampled_from([0.01, 1 / 2.54, 1e-3, 12.0, 1_000.0]), st.integers(8, 50))
def test_units_that_jumped_are_found(seed, factor, m):
    both = make_table(100 + m, seed)
    rows = both[100:].assign(height=both["height"][100:] * factor)
    said = [line for line in differences(both[:100], rows) if "'height'" in line]
    # Inches for centimetres: a factor of 2.5 on numbers whose range is a third of them.
    assert len(said) == (0 if factor == 1 / 2.54 and not said else 1)
    assert all("another unit?" in line and f"{m} of {m}" in line for line in said)


@FEW
@given(st.integers(0, 2**32), st.integers(4, 50))
def test_columns_that_are_gone_are_found(seed, m):
    both = make_table(100 + m, seed)
    for name, value in (("height", np.nan), ("region", None)):
        said = differences(both[:100], both[100:].assign(**{name: value}))
        assert [line for line in said if f"{name!r} is missing in all {m} rows, at fit in 0%" in line]
    income = differences(both[:100], both[100:].assign(income=np.nan))
    assert bool(income) == (m >= 8) or m in (5, 6, 7, 8, 9, 10)  # missing in a third at fit: a few say nothing


def test_one_value_in_a_column_is_found_and_a_grid_is_none():
    both = make_table(200, 0)
    said = differences(both[:100], both[100:].assign(region="West"))
    assert said == ["column 'region' holds one value in all rows, and varied at fit"]
    grid = pd.concat([both.dropna()[:1]] * 60).assign(height=np.linspace(150, 190, 60))
    assert differences(both[:100], grid) == []


def test_growing_numbers_and_single_rows_are_no_jump():
    both = make_table(200, 1)
    assert differences(both[:100], both[100:].assign(year=2020 + np.arange(100) % 5)) == []
    assert differences(both[:100], both[100:101].assign(height=400.0)) == []


@pytest.mark.parametrize("Estimator", [ICLClassifier, ICLRegressor])
def test_prediction_warns_once_at_the_callers_line(Estimator, tiny_release):
    X = make_table(60, 2)
    fitted = Estimator(tiny_release, n_estimators=1).fit(X, np.arange(60) % 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.predict(X)
    changed = X.assign(member=X["member"].str.upper(), region=None)
    methods = {"predict", "predict_distribution"}
    methods |= (
        {"predict_proba", "predict_set"} if Estimator is ICLClassifier else {"predict_interval", "predict_quantiles"}
    )
    said = r"60 of 60 .*did you mean '(yes|no)'.*'region' is missing in all 60"
    for method in sorted(methods):
        arguments = ([0.5],) if method == "predict_quantiles" else ()
        with pytest.warns(SchemaWarning, match=said) as caught:
            getattr(fitted, method)(changed, *arguments)
        assert [w.filename for w in caught] == [__file__]


def test_labels_that_nobody_meant_are_named(tiny_release):
    X = make_table(60, 3)
    y = np.array(["high", "HIGH", "high  ", "low", "", "low"] * 10, dtype=object)
    said = r"10 labels are empty text.*'HIGH', 'high', 'high  ' differ in case"
    with pytest.warns(SchemaWarning, match=said) as caught:
        fitted = ICLClassifier(tiny_release, n_estimators=1).fit(X, y)
    assert len(fitted.classes_) == 5 and caught[0].filename == __file__


# Reading


@FEW
@given(st.integers(0, 2**32), st.sampled_from(["?", "NA", "n/a", "-", "None", "oops"]), st.booleans())
def test_a_word_among_numbers_is_missing_and_said(seed, word, as_text):
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=60).round(3)
    cells = pd.Series([str(v) if as_text else v for v in numbers], dtype=object)
    place = rng.integers(60)
    cells[place] = word
    encoder = TableEncoder().fit(pd.DataFrame({"x": cells}))
    assert not encoder.is_categorical_[0]
    assert encoder.said_ == [f"column 'x' holds 59 numbers and {word!r} (1 cells), read as missing"]
    read = encoder.transform(pd.DataFrame({"x": cells}))[:, 0]
    plain = pd.DataFrame({"x": np.where(np.arange(60) == place, np.nan, numbers)})
    np.testing.assert_array_equal(read, TableEncoder().fit(plain).transform(plain)[:, 0])


def test_many_words_are_levels():
    for cells in (["1", "2", "3.5", "many"] * 5, ["?", "1", "2"] * 9, ["1", "?"] * 9, ["0123", "017", "?"] * 9):
        encoder = TableEncoder().fit(pd.DataFrame({"x": cells}))
        assert encoder.is_categorical_[0] and encoder.said_ == []


@pytest.mark.parametrize("as_text", [True, False])
def test_a_category_of_many_decimals_is_a_number_and_said(as_text):
    """As files and databases give measurements that someone called nominal."""
    numbers = np.random.default_rng(0).normal(size=60).round(2)
    cells = pd.Series([str(v) for v in numbers] if as_text else numbers).where(np.arange(60) != 7)
    encoder = TableEncoder().fit(pd.DataFrame({"x": cells.astype("category")}))
    n_levels = cells.nunique()
    assert encoder.said_ == [f"column 'x' is a category of {n_levels} numbers with decimals, read as numbers"]
    plain = pd.DataFrame({"x": np.where(np.arange(60) != 7, numbers, np.nan)})
    expected = TableEncoder().fit(plain).transform(plain)
    np.testing.assert_array_equal(encoder.transform(pd.DataFrame({"x": cells.astype("category")})), expected)
    unseen = pd.DataFrame({"x": pd.Categorical(["0.123", "-9.5"] if as_text else [0.123, -9.5])})
    assert np.isfinite(encoder.transform(unseen)).all()


def test_a_word_in_a_category_of_many_decimals_is_missing_and_said_too():
    cells = pd.Series([*np.arange(60) / 8, "?"], dtype=object).astype("category")
    encoder = TableEncoder().fit(pd.DataFrame({"x": cells}))
    assert not encoder.is_categorical_[0] and np.isnan(encoder.transform(pd.DataFrame({"x": cells}))[-1, 0])
    [said] = encoder.said_
    assert "a category of 60 numbers with decimals, read as numbers; column 'x' holds 60 numbers and '?'" in said


def test_a_category_of_grades_or_codes_stays_one():
    few, whole = np.arange(10) / 2, np.arange(10_001, 10_041)
    for levels in (few, whole, [f"0{v}" for v in whole], [*(np.arange(40) / 4), *"abcde"]):
        cells = pd.Series(list(levels) * 2).astype("category")
        encoder = TableEncoder().fit(pd.DataFrame({"x": cells}))
        assert encoder.is_categorical_[0] and encoder.said_ == []
    # Levels that no row has decide nothing.
    unused = pd.Categorical([0.5, 1.5] * 9, categories=np.arange(60) / 4 + 0.25)
    assert TableEncoder().fit(pd.DataFrame({"x": unused})).is_categorical_[0]


EXACT = {
    "int64": lambda v: 2**60 + v,
    "uint64": lambda v: (2**63 + v.astype(np.uint64)).astype(np.uint64),
    "Int64": lambda v: pd.array(2**60 + v, dtype="Int64"),
    "digits": lambda v: [str(2**60 + int(k)) for k in v],
    "Decimals": lambda v: [Decimal(10) ** 20 + int(k) for k in v],
    "python integers": lambda v: [10**30 + int(k) for k in v],
    "nanoseconds": lambda v: pd.to_timedelta(10**18 + v, unit="ns"),
    "times": lambda v: pd.to_datetime(10**18 + v, unit="ns"),
}


@pytest.mark.parametrize("kind", EXACT)
@FEW
@given(seed=st.integers(0, 2**32), most=st.integers(1, 900))
def test_numbers_that_differ_in_their_last_digits_stay_apart(kind, seed, most):
    values = np.random.default_rng(seed).integers(0, most, 40, endpoint=True)
    values[:2] = 0, most
    plain = pd.DataFrame({"x": values.astype(float)})
    dtype = object if kind in ("Decimals", "python integers") else None
    huge = pd.DataFrame({"x": pd.Series(EXACT[kind](values), dtype=dtype)})
    expected = TableEncoder().fit(plain).transform(plain)
    np.testing.assert_allclose(TableEncoder().fit(huge).transform(huge), expected, atol=1e-6)
    np.testing.assert_allclose(TableEncoder().fit(huge).transform(huge[:3]), expected[:3], atol=1e-6)


def test_codes_that_are_one_number_stay_two():
    encoder = TableEncoder().fit(pd.DataFrame({"x": ["1e5", "10e4", "2e1"] * 4}))
    assert encoder.is_categorical_[0] and encoder.n_levels_[0] == 3
    assert not TableEncoder().fit(pd.DataFrame({"x": ["1e5", "1.0", "1"] * 4})).is_categorical_[0]


def test_a_target_beyond_float64_is_refused_with_the_reason(tiny_release):
    X = make_table(30, 4)
    for y in (2**60 + np.arange(30), [10**25 + k for k in range(30)]):
        with pytest.raises(ValueError, match=r"differ beyond the 15 digits.*distance from a number.*y - 1\d+"):
            ICLRegressor(tiny_release).fit(X, y)
    ICLRegressor(tiny_release, n_estimators=1).fit(X, 2**60 + 4096 * np.arange(30))


def test_nothing_of_ours_is_said_of_a_hugging_face_table(tiny_release):
    import datasets

    X = make_table(40, 5).drop(columns="code")
    y = np.arange(40) % 2
    table = datasets.Dataset.from_pandas(X.assign(y=y), preserve_index=False)
    fitted = ICLClassifier(tiny_release, n_estimators=1, calibrate=True).fit(table.remove_columns("y"), table["y"])
    direct = ICLClassifier(tiny_release, n_estimators=1, calibrate=True).fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(table.remove_columns("y")), direct.predict_proba(X))
    assert fitted.predict_set(table.remove_columns("y"), 0.8, folds=3).shape == (40, 2)

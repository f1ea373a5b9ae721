"""The table encoder: every column type becomes numbers or codes, learnt from context rows only."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from icl.tables.encoder import TableEncoder
from icl.tables.scaling import learn_scale, units
from icl.tables.target import class_codes

DAYS = pd.to_datetime(["2024-01-01", "2024-01-02", None, "2024-01-05"])
NAN = np.nan


def encode(column, query=None):
    """One column (beside a number, so that it may be dropped): its encoded values and whether it is categorical."""
    table = pd.DataFrame({"other": np.arange(len(column)), "x": column})
    encoder = TableEncoder().fit(table)
    rows = table if query is None else pd.DataFrame({"other": np.arange(len(query)), "x": query})
    return encoder.transform(rows)[:, 1], bool(encoder.is_categorical_[1])


def standard(values):
    values = np.asarray(values, dtype=float)
    return (values - np.nanmean(values)) / np.nanstd(values)


@pytest.mark.parametrize(
    ("column", "values"),
    {
        "float": ([1.0, 2.5, NAN, 4.0], [1, 2.5, NAN, 4]),
        "int": ([1, 2, 3, 7], [1, 2, 3, 7]),
        "nullable": (pd.array([1, 2, None, 7], dtype="Int64"), [1, 2, NAN, 7]),
        "arrow": (pd.array([1, 2, None, 7], dtype="int64[pyarrow]"), [1, 2, NAN, 7]),
        "objects": (pd.Series([1, 2.5, None, 4], dtype=object), [1, 2.5, NAN, 4]),
        "decimal": ([decimal.Decimal("1.5"), decimal.Decimal(2), None, decimal.Decimal(3)], [1.5, 2, NAN, 3]),
        "number text": (["1", " 2.5", "", "-4e0"], [1, 2.5, NAN, -4]),
        "date time": (DAYS, [0, 1, NAN, 4]),
        "time zone": (DAYS.tz_localize("Europe/Berlin"), [0, 1, NAN, 4]),
        "dates": ([datetime.date(2024, 1, 1), datetime.date(2024, 1, 2), None, datetime.date(9999, 1, 1)], None),
        "duration": (DAYS - DAYS[0], [0, 1, NAN, 4]),
        "period": (pd.period_range("2023-01", periods=4, freq="M"), [0, 31, 59, 90]),
        "ordered": (pd.Categorical(["lo", "hi", None, "mid"], ["lo", "mid", "hi"], ordered=True), [0, 2, NAN, 1]),
    }.values(),
)
def test_amounts_are_standardised(column, values):
    z, is_categorical = encode(column)
    assert not is_categorical
    if values is not None:
        assert_allclose(z, standard(values), rtol=1e-6, atol=1e-6)
    assert_allclose([np.nanmean(z), np.nanstd(z)], [0, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("column", "codes"),
    {
        "text": (["b", "a", "b", None], [0, 1, 0, NAN]),
        "ties by name": (["z", "m", "a", "m"], [2, 0, 1, 0]),
        "category": (pd.Categorical(["b", "a", "b", None]), [0, 1, 0, NAN]),
        "string": (pd.array(["b", "a", "b", None], dtype="string"), [0, 1, 0, NAN]),
        "arrow": (pd.array(["b", "a", "b", None], dtype="string[pyarrow]"), [0, 1, 0, NAN]),
        "bool": ([True, False, True, True], [0, 1, 0, 0]),
        "nullable bool": (pd.array([True, False, True, None], dtype="boolean"), [0, 1, 0, NAN]),
        "mixture": ([1, "a", 1.0, None], [0, 1, 0, NAN]),
        "leading zeros": (["0123", "1234", "0123", "9"], [0, 1, 0, 2]),
        "lists": ([[1], [2], [1], None], [0, 1, 0, NAN]),
    }.values(),
)
def test_kinds_become_codes_by_frequency(column, codes):
    values, is_categorical = encode(column)
    assert is_categorical
    assert_array_equal(values, np.array(codes, dtype=np.float32))


def test_unseen_category_is_missing():
    values, _ = encode(["a", "b", "a"], ["b", "new", None, "a"])
    assert_array_equal(values, np.array([1, NAN, NAN, 0], dtype=np.float32))


def test_integer_categories_survive_a_missing_cell():
    values, _ = encode(pd.Categorical([3, 5, 3]), [5.0, NAN, 3.0])
    assert_array_equal(values, np.array([1, NAN, 0], dtype=np.float32))


def test_text_numbers_accept_other_text_at_predict_as_missing():
    # Which rows form the context must not decide whether a stray "?" is an error.
    values, _ = encode(["1", "2", "3"], ["2", "?", "3"])
    assert_allclose(values, [0, NAN, np.sqrt(1.5)], rtol=1e-6)


@pytest.mark.parametrize("word", ["unknown", "n/a", "?", " "])
def test_words_for_missing_among_dates_leave_them_dates(word):
    days = [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-03"), word] * 2
    X = pd.DataFrame({"day": pd.Series(days, dtype=object), "x": range(6)})
    encoder = TableEncoder("X").fit(X)
    np.testing.assert_allclose(encoder.transform(X)[:, 0], [-1, 1, NAN] * 2)
    assert not encoder.is_categorical_.any()
    assert [word in said for said in encoder.said_] == [True] * bool(word.strip())


def test_a_query_that_was_not_run_is_told_from_a_table():
    lazy = type("LazyFrame", (), {"collect": lambda self: None})()
    with pytest.raises(TypeError, match=r"LazyFrame is a query that was not run yet. Pass X.collect\(\)"):
        TableEncoder("X").fit(lazy)


def test_only_context_rows_count():
    context = pd.DataFrame({"x": [1.0, 2, 3], "c": ["a", "b", "a"]})
    query = pd.DataFrame({"x": [1e6, 2], "c": ["b", "z"]})
    encoder = TableEncoder().fit(context)
    together = encoder.transform(pd.concat([context, query]))
    assert_array_equal(together[:3], encoder.transform(context))
    assert_array_equal(together[3:], encoder.transform(query))


@pytest.mark.parametrize("factor", [1e-300, 1.0, 1e300])
def test_units_do_not_matter(factor):
    x = np.array([0.1, -0.7, 1.3, NAN, 0.4])
    assert_allclose(encode(x * factor)[0], standard(x), rtol=1e-6)


def test_timestamps_keep_their_seconds():
    # Neighbouring float32 numbers near 1.6e9 are 128 apart.
    z, _ = encode(1.6e9 + np.arange(5.0))
    assert_allclose(z, standard(np.arange(5.0)), rtol=1e-5)


def test_far_query_cells_stay_finite():
    z, _ = encode([1e-200, 2e-200, 3e-200], [1e300, -1e300])
    assert np.isfinite(z).all()


def test_useless_columns_are_dropped_and_named():
    table = pd.DataFrame({"same": [1, 1, 1], "x": [1, 2, 3], "gone": [None] * 3, "some": [2.0, 2.0, NAN]})
    encoder = TableEncoder().fit(table)
    assert encoder.dropped_columns_ == ["same", "gone"]
    # A constant with gaps is kept: that a cell is missing may tell something.
    assert_array_equal(np.isnan(encoder.transform(table)[:, 1]), [False, False, True])


def test_columns_are_matched_by_name():
    table = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "y"], "c": [0.5, 0.1, 0.2]})
    encoder = TableEncoder().fit(table)
    assert_array_equal(encoder.transform(table[["c", "a", "b"]]), encoder.transform(table))


def test_array_and_frame_agree():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(6, 3))
    frame = pd.DataFrame(array, columns=list("abc"))
    assert_array_equal(TableEncoder().fit(array).transform(array), TableEncoder().fit(frame).transform(frame))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        TableEncoder().fit(frame).transform(array)
    with pytest.warns(UserWarning, match="fitted without feature names"):
        TableEncoder().fit(array).transform(frame)


def test_list_of_mixed_rows():
    encoder = TableEncoder().fit([[1, "a"], [2, "b"], [3, "a"]])
    assert encoder.is_categorical_.tolist() == [False, True]


def test_arrow_tables_are_read():
    import pyarrow as pa

    table = pa.table({"x": [1, 2, None], "c": ["a", None, "b"]})
    assert TableEncoder().fit(table).transform(table).shape == (3, 2)


def test_units_standardise_anything_finite():
    for values in ([1e308, -1e308, 5], [5e-324, 0], [3.0, 3.0], [0.0, 0.0], []):
        unit, center, scale = units(np.array(values))
        assert np.isfinite((np.array(values) / unit - center) / scale).all()


@pytest.mark.parametrize("transform", ["quantile", "power"])
def test_member_transforms_are_monotone_and_unitless(transform):
    rng = np.random.default_rng(0)
    context, rows = rng.standard_cauchy(50), np.sort(rng.normal(size=30))
    scale = learn_scale(transform, context)
    seen = scale(rows)
    assert np.all(np.diff(seen) >= 0)
    assert np.abs(scale(context)).max() < np.abs(context).max()
    assert_allclose(learn_scale(transform, 1000 * context - 5)(1000 * rows - 5), seen, rtol=1e-9, atol=1e-12)
    assert_array_equal(np.isnan(scale(np.array([NAN, 1]))), [True, False])


@pytest.mark.parametrize(
    "y",
    [
        ["b", "a", "b"],
        pd.Series(["b", "a", "b"], dtype="string"),
        pd.Series(pd.Categorical(["b", "a", "b"], categories=["z", "b", "a"])),
        np.array(["b", "a", "b"], dtype=object),
        [True, False, True],
        pd.Series([7, 3, 7], dtype="Int64"),
        [7.0, 3.0, 7.0],
    ],
)
def test_classes_are_sorted_whatever_their_type(y):
    classes, codes = class_codes(y if isinstance(y, pd.Series) else np.asarray(y))
    assert classes.tolist() == sorted(set(y))
    assert codes.tolist() == [1, 0, 1]


def test_rows_of_a_list_keep_their_cells():
    table = [[1, "a", [1]], [2, None, np.arange(2)], [4, "b", [1]]]
    encoder = TableEncoder().fit(table)
    assert encoder.is_categorical_.tolist() == [False, True, True]
    assert_allclose(encoder.transform(table)[:, 0], standard([1, 2, 4]), rtol=1e-6)
    with pytest.raises(ValueError, match=r"row 1 has 1 cells, others up to 2.*None where"):
        TableEncoder().fit([[1, 2], [3]])


def test_masked_cells_are_missing():
    array = np.ma.masked_array([[1.0, 7.0], [2.0, 9.0], [4.0, 8.0]], [[0, 0], [0, 1], [0, 0]])
    assert_array_equal(np.isnan(TableEncoder().fit(array).transform(array)[:, 1]), [False, True, False])


def test_booleans_survive_a_file():
    # Written as True and False, read again as 1 and 0 by another program.
    values, is_categorical = encode([True, False, True], [1, 0.0, "1"])
    assert is_categorical
    assert_array_equal(values, np.array([0, 1, 0], dtype=np.float32))


def test_one_huge_cell_leaves_the_others_distinct():
    x = np.random.default_rng(0).normal(size=50)
    z, _ = encode(np.append(x, 1e300))
    assert len(np.unique(z)) == 51
    assert_array_equal(np.argsort(z), np.argsort(np.append(x, 1e300)))
    # How far beyond all others it lies hardly matters.
    nearer, _ = encode(np.append(x, 1e200))
    assert np.corrcoef(z[:50], nearer[:50])[0, 1] > 0.999
    zeros, _ = encode(np.r_[np.zeros(30), x[:20], -1e290])
    assert len(np.unique(zeros)) == 22


def test_moderate_tails_stay_plain_numbers():
    x = np.random.default_rng(0).lognormal(sigma=1.5, size=300)
    assert_allclose(encode(x)[0], standard(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [r"xxy\.", "xxy/", "xxy-", "dMy", "Mdy", "compact"])
def test_a_weekday_in_one_cell_changes_no_date_of_another(shape):
    """Where no cell begins with a letter, a shorter pattern reads them."""
    from icl.tables.dates import Dates

    cells = ["01.02.2024", "3/4/2023", "17-5-1999 10:30", "20230217", "17 février 2023", "1 no date", ""]
    read = Dates("dmy", shape).read
    alone, beside = (read(pd.Series(texts, dtype="str")) for texts in (cells, [*cells, "Mo., 05.02.2024"]))
    for ours, theirs in zip(alone, beside):
        pd.testing.assert_series_equal(ours, theirs[: len(cells)])
    assert shape == "Mdy" or alone[0].notna().sum() == 1


def test_a_unit_in_one_cell_changes_no_number_of_another():
    from icl.tables.numbers import _parts

    cells = ["1,5", "2.000,3", "(3)", "12 %", "€ 5", "5 ₺", "-7", "1 000", "8-", "."]
    alone, beside = (_parts(pa.array(texts)) for texts in (cells, [*cells, "9 kg"]))
    for name, part in alone.items():
        assert part.to_pylist() == beside[name].to_pylist()[: len(cells)]
    assert alone["fits"].to_pylist() == [True] * 9 + [False] and beside["after"][10].as_py() == "kg"

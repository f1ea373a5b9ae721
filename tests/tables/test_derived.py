"""Text is read by its letters, dates by their season and weekday too; names of rows are left out, by name."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from icl.tables.derived import DateParts, TextParts
from icl.tables.encoder import TableEncoder

GOOD, BAD = ["great", "lovely", "quick", "friendly", "excellent"], ["awful", "slow", "rude", "broken", "terrible"]
FILL = ["the", "delivery", "of", "my", "order", "from", "this", "shop", "was", "and", "staff", "service"]


def reviews(n=120, seed=0):
    rng = np.random.default_rng(seed)
    mood = rng.integers(0, 2, n)
    texts = [" ".join(rng.permutation([*rng.choice(FILL, 6), *rng.choice(GOOD if m else BAD, 3)])) for m in mood]
    return pd.Series(texts, name="review"), mood


def test_sentences_become_directions_that_tell_their_mood():
    texts, mood = reviews()
    encoder = TableEncoder().fit(pd.DataFrame({"review": texts, "x": np.arange(120.0)}))
    values = encoder.transform(pd.DataFrame({"review": texts, "x": np.arange(120.0)}))
    assert encoder.dropped_columns_ == [] and not encoder.is_categorical_.any()
    assert values.shape == (120, 1 + 6) and encoder.sources_.tolist() == [1] + [0] * 6
    assert_allclose(values[:, 1:].mean(axis=0), 0, atol=1e-5)
    best = max(abs(np.corrcoef(values[:, j], mood)[0, 1]) for j in range(1, 7))
    assert best > 0.8


def test_text_is_learnt_from_the_context_only():
    texts, _ = reviews()
    parts = TextParts.learn(texts[:60])
    whole = parts.read(texts)
    assert_array_equal(parts.read(texts[60:]), whole[60:])  # no row depends on the others that are read with it
    assert_array_equal(TextParts.learn(texts[:60].copy()).read(texts), whole)
    assert np.isnan(parts.read(pd.Series(["", None, "great staff"]))).all(axis=1).tolist() == [True, True, False]


@pytest.mark.parametrize(
    "notes", [["the only note"], ["one and the same note"] * 5, ["a note", "A NOTE "], ["aa", "b c"]]
)
def test_few_notes_or_equal_ones_are_no_trouble(notes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = TextParts.learn(pd.Series(notes))
        assert np.isfinite(parts.read(pd.Series([*notes, "another"]))).all()


@pytest.mark.parametrize(
    ("days", "parts"),
    [
        (pd.date_range("2022-01-01", periods=400), ["season_sin", "season_cos", "weekday"]),
        (pd.date_range("2022-01-03", periods=40, freq="7D"), ["season_sin", "season_cos"]),
        (pd.date_range("2022-01-03", periods=40, freq="h"), ["weekday", "hour_sin", "hour_cos"]),
        (pd.date_range("2022-01-03", periods=10), None),
    ],
)
def test_dates_give_the_parts_that_vary(days, parts):
    found = DateParts.learn(np.asarray(days.to_numpy("datetime64[us]").view("int64") / 86_400e6), "d")
    assert (None if found is None else found.parts) == parts


def test_a_weekday_is_a_code_and_seasons_return():
    days = pd.date_range("2020-01-01", periods=800)
    frame = pd.DataFrame({"d": days})
    encoder = TableEncoder().fit(frame)
    values = encoder.transform(frame)
    assert encoder.is_categorical_.tolist() == [False, False, False, True]
    assert_array_equal(values[:, 3], days.day_of_week)
    assert_allclose(values[0, 1:3], values[365, 1:3], atol=0.05)
    later = encoder.transform(pd.DataFrame({"d": [pd.Timestamp("2024-01-01"), pd.NaT]}))
    assert later[0, 3] == 0 and np.isnan(later[1]).all()


def test_dates_and_amounts_in_text_are_read_in_python_too():
    frame = pd.DataFrame({
        "d": pd.date_range("2022-01-01", periods=60).strftime("%d.%m.%Y"),
        "m": [f"${i * 1_000:,}.50" for i in range(60)],
    })  # fmt: skip
    encoder = TableEncoder().fit(frame)
    assert encoder.is_categorical_.tolist() == [False, False, True]
    said: list[str] = []
    values = encoder.transform(pd.DataFrame({"d": ["05.01.2022", "soon"], "m": ["$7,000.50", "-"]}), said)
    assert np.isnan(values[1]).all() and not np.isnan(values[0]).any()
    assert any("'soon'" in sentence and "count as missing" in sentence for sentence in said)


def test_names_of_rows_are_left_out_and_said_unless_there_is_nothing_else():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": range(40), "hash": [f"{i * 7919:06x}" for i in range(40)], "x": rng.normal(size=40)})
    encoder = TableEncoder().fit(frame)
    assert encoder.dropped_columns_ == ["id", "hash"] and encoder.transform(frame).shape == (40, 1)
    assert encoder.said_ == [f"column {name!r} names rows and is not used" for name in ("id", "hash")]
    assert TableEncoder().fit(frame[["id"]]).dropped_columns_ == []


def test_ambiguous_dates_in_python_are_said():
    frame = pd.DataFrame({"d": ["03/04/2024", "05/06/2024", "01/02/2024"] * 10, "x": range(30)})
    encoder = TableEncoder().fit(frame)
    assert encoder.is_categorical_.tolist() == [True, False] and "dayfirst=True" in encoder.said_[0]

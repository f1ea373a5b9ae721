"""Fingerprints: a row is recognised in any order, format and type; chance matches are not held against a user."""

import numpy as np
import pandas as pd
import pytest

from icl.releases.fingerprint import Seen, read_seen, refuse_seen, row_fingerprints, to_bytes

TABLE = pd.DataFrame(
    {
        "age": [41, 17, 33, 41],
        "income": [1250.5, np.nan, -3.25, 0.1],
        "ward": ["east", "west", None, "east"],
        "since": pd.to_datetime(["2024-01-02", "2024-01-03", "2023-05-06", None]),
        "ill": [True, False, True, True],
    }
)


def test_rows_and_columns_may_come_in_any_order():
    order = [2, 0, 3, 1]
    shuffled = TABLE.iloc[order][["ward", "ill", "age", "since", "income"]]
    np.testing.assert_array_equal(row_fingerprints(shuffled), row_fingerprints(TABLE)[order])
    assert len(set(row_fingerprints(TABLE))) == 4


@pytest.mark.parametrize("format", ["csv", "parquet", "categories", "objects", "text"])
def test_the_way_of_storing_does_not_matter(format, tmp_path):
    found = TABLE
    if format == "csv":
        TABLE.to_csv(tmp_path / "t.csv", index=False)
        found = pd.read_csv(tmp_path / "t.csv")
    elif format == "parquet":
        TABLE.to_parquet(tmp_path / "t.parquet")
        found = pd.read_parquet(tmp_path / "t.parquet")
    elif format == "categories":
        found = TABLE.assign(ward=TABLE.ward.astype("category"), age=TABLE.age.astype("category"))
    elif format == "objects":
        found = TABLE.astype(object)
    else:
        found = TABLE.assign(age=TABLE.age.astype(str), ill=TABLE.ill.map({True: "True", False: "False"}))
    np.testing.assert_array_equal(row_fingerprints(found), row_fingerprints(TABLE))


def test_every_cell_and_every_name_counts():
    before = row_fingerprints(TABLE)
    for column, value in {"age": 42, "income": 0.2, "ward": "West", "ill": False}.items():
        changed = TABLE.copy()
        changed.loc[0, column] = value
        assert (row_fingerprints(changed) != before).tolist() == [True, False, False, False]
    assert not (row_fingerprints(TABLE.rename(columns={"age": "Age"})) == before).any()
    swapped = TABLE.assign(age=TABLE.income, income=TABLE.age)  # the same values in other columns
    assert not (row_fingerprints(swapped) == before).any()
    np.testing.assert_array_equal(row_fingerprints(TABLE.assign(empty=np.nan)), before)


def draw(n: int, seed: int, coarse: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.integers(3, size=(n, 2)) if coarse else rng.normal(size=(n, 2))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": rng.integers(2, size=n)})


def check(trained: pd.DataFrame, labeled: pd.DataFrame, unlabeled: pd.DataFrame | None = None) -> None:
    rest = labeled.iloc[:0] if unlabeled is None else unlabeled
    refuse_seen([Seen.of("ward.csv", trained, "y")], labeled, rest, "'mine'")


def test_trained_rows_are_refused_and_fresh_ones_are_not():
    trained, fresh = draw(200, 0), draw(100, 1)
    check(trained, fresh)
    mixed = pd.concat([fresh, trained.iloc[[5]]])[["y", "b", "a"]].assign(more=1.0)
    with pytest.raises(ValueError, match=r"'mine' was fine-tuned on 1 of the 101 labeled rows.*ward\.csv.*held out"):
        check(trained, mixed)
    check(trained, mixed.assign(y=1 - mixed.y))  # other labels: not what was learnt
    with pytest.raises(ValueError, match="3 of the 3 unlabeled rows"):
        check(trained, fresh, trained.iloc[:3].drop(columns="y"))
    check(trained, fresh, draw(50, 2).drop(columns="y"))


def test_rows_that_are_equal_by_chance_are_not_held_against_anybody():
    """18 different rows are possible: every fresh one was seen before. Over 200 draws nothing is refused."""
    trained = draw(300, 0, coarse=True)
    for seed in range(1, 200):
        check(trained, draw(60, seed, coarse=True))


def test_the_chance_of_a_repeat_is_estimated_without_bias():
    """A third of the rows come from five kinds, the rest are unique: so does a fresh row with that chance."""
    rng = np.random.default_rng(0)
    kind = np.where(rng.random(3_000) < 1 / 3, rng.integers(5, size=3_000), rng.normal(size=3_000) + 100)
    trained = pd.DataFrame({"a": kind, "y": 0})
    _, chance = Seen.of("t", trained, "y").matches(trained, labeled=True)
    assert abs(chance - 1 / 3) < 4 * np.sqrt(2 / 9 / 3_000)


def test_doubt_is_said_where_columns_are_gone():
    trained = draw(200, 0)
    with pytest.warns(UserWarning, match="cannot be told .* lack column 'a'"):
        check(trained, trained.drop(columns="a"))


def test_a_release_without_its_fingerprints_is_refused(tmp_path):
    import hashlib
    import json

    assert read_seen(tmp_path) == []
    raw = to_bytes([Seen.of("ward.csv", draw(20, 0), "y"), Seen.of("other", draw(10, 1), None)])
    facts = {"fingerprints": {"file": "fingerprints.npz", "sha256": hashlib.sha256(raw).hexdigest()}}
    (tmp_path / "provenance.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="missing or not the one"):
        read_seen(tmp_path)
    (tmp_path / "fingerprints.npz").write_bytes(raw)
    one, other = read_seen(tmp_path)
    assert one.columns == ("a", "b", "y") and one.target == "y" and len(one.rows) == len(one.features) == 20
    assert other.target is None and len(other.features) == 0
    assert one.matches(draw(20, 0), labeled=True)[0].all()

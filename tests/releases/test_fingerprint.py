"""Fingerprints: a row is recognised in any order, format and type; chance matches are not held against a user."""

import hashlib
import io
import itertools
import json

import numpy as np
import pandas as pd
import pytest

from icl.releases import fingerprint, seen
from icl.releases.fingerprint import ONE_IN, bits_for, row_fingerprints, row_prints
from icl.releases.names import CheckpointError
from icl.releases.seen import Seen, described, read_seen, refuse_seen, repeat_chance, rows_seen, seen_of, to_bytes

SALT = bytes(16)


@pytest.fixture(autouse=True)
def one_salt_and_a_fast_hash(monkeypatch, request):
    """No chance match may come and go with the salt; the cost changes nothing that is tested but in the attack."""
    monkeypatch.setattr(seen.secrets, "token_bytes", bytes)
    if "recovered" not in request.node.name:
        monkeypatch.setattr(fingerprint, "_COST", {"n": 2, "r": 1, "p": 1})


@pytest.fixture(params=["new", "icl 0.1"])
def prints(request):
    """Both kinds of fingerprints, for the laws that both obey."""
    return (lambda frame: row_prints(frame, SALT, 64)) if request.param == "new" else row_fingerprints


TABLE = pd.DataFrame(
    {
        "age": [41, 17, 33, 41],
        "income": [1250.5, np.nan, -3.25, 0.1],
        "ward": ["east", "west", None, "east"],
        "since": pd.to_datetime(["2024-01-02", "2024-01-03", "2023-05-06", None]),
        "ill": [True, False, True, True],
    }
)


def test_rows_and_columns_may_come_in_any_order(prints):
    order = [2, 0, 3, 1]
    shuffled = TABLE.iloc[order][["ward", "ill", "age", "since", "income"]]
    np.testing.assert_array_equal(prints(shuffled), prints(TABLE)[order])
    assert len(set(prints(TABLE))) == 4


@pytest.mark.parametrize("format", ["csv", "parquet", "categories", "objects", "text"])
def test_the_way_of_storing_does_not_matter(format, prints, tmp_path):
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
    np.testing.assert_array_equal(prints(found), prints(TABLE))


def test_every_cell_and_every_name_counts(prints):
    before = prints(TABLE)
    for column, value in {"age": 42, "income": 0.2, "ward": "West", "ill": False}.items():
        changed = TABLE.copy()
        changed.loc[0, column] = value
        assert (prints(changed) != before).tolist() == [True, False, False, False]
    assert not (prints(TABLE.rename(columns={"age": "Age"})) == before).any()
    swapped = TABLE.assign(age=TABLE.income, income=TABLE.age)  # the same values in other columns
    assert not (prints(swapped) == before).any()
    np.testing.assert_array_equal(prints(TABLE.assign(empty=np.nan)), before)


def draw(n: int, seed: int, coarse: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.integers(3, size=(n, 2)) if coarse else rng.normal(size=(n, 2))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": rng.integers(2, size=n)})


def check(trained: pd.DataFrame, labeled: pd.DataFrame, unlabeled: pd.DataFrame | None = None) -> None:
    rest = labeled.iloc[:0] if unlabeled is None else unlabeled
    refuse_seen(seen_of({"ward.csv": trained}, "y"), labeled, rest, "'mine'")


def test_trained_rows_are_refused_and_fresh_ones_are_not():
    trained, fresh = draw(200, 0), draw(100, 1)
    check(trained, fresh)
    mixed = pd.concat([fresh, trained.iloc[:6]])[["y", "b", "a"]].assign(more=1.0)
    # Six of them, and one of the fresh rows looks as if.
    with pytest.raises(ValueError, match=r"'mine' was fine-tuned on 7 of the 106 labeled rows \(by chance.*ward\.csv"):
        check(trained, mixed)
    with pytest.raises(ValueError, match="3 of the 3 unlabeled rows"):
        check(trained, fresh, trained.iloc[:3].drop(columns="y"))
    check(trained, fresh, draw(50, 2).drop(columns="y"))


def test_of_a_large_table_a_sample_is_compared():
    trained = draw(5_000, 0)
    with pytest.raises(ValueError, match="4000 of the 4000 labeled rows that were compared"):
        check(trained, trained)


def test_rows_that_are_equal_by_chance_are_not_held_against_anybody():
    """18 different rows are possible: every fresh one was seen before. Over 200 draws nothing is refused."""
    trained = draw(300, 0, coarse=True)
    for seed in range(1, 200):
        check(trained, draw(60, seed, coarse=True))


@pytest.mark.parametrize("n_tables", [1, 20])
def test_fresh_rows_match_as_often_as_stated(n_tables):
    """One in ONE_IN to twice that, however many tables: the rate lies within four standard errors of what is said."""
    tuned = seen_of({str(k): draw(3_000 // n_tables, k) for k in range(n_tables)}, "y")
    known, chance, _ = rows_seen(tuned, draw(30_000, 99), labeled=False)
    assert 1 / (2 * ONE_IN) <= chance <= 1 / ONE_IN
    assert abs(known.mean() - chance) < 4 * np.sqrt(chance / 30_000)


def test_the_chance_of_a_repeat_is_estimated_without_bias():
    """A third of the rows come from five kinds, the rest are unique: so does a fresh row with that chance."""
    rng = np.random.default_rng(0)
    kind = np.where(rng.random(3_000) < 1 / 3, rng.integers(5, size=3_000), rng.normal(size=3_000) + 100)
    chance = repeat_chance(row_fingerprints(pd.DataFrame({"a": kind})))
    assert abs(chance - 1 / 3) < 4 * np.sqrt(2 / 9 / 3_000)


def test_doubt_is_said_where_columns_are_gone():
    trained = draw(200, 0)
    with pytest.warns(UserWarning, match="cannot be told .* lack column 'a'"):
        check(trained, trained.drop(columns="a"))


def test_a_release_without_its_fingerprints_is_refused(tmp_path):
    assert read_seen(tmp_path) == []
    tuned = [*seen_of({"ward.csv": draw(20, 0)}, "y"), *seen_of({"other": draw(10, 1)}, None)]
    raw = to_bytes(tuned)
    (tmp_path / "provenance.json").write_text(json.dumps({"fingerprints": described(tuned, raw)}))
    with pytest.raises(CheckpointError, match="missing or not the one"):
        read_seen(tmp_path)
    (tmp_path / "fingerprints.npz").write_bytes(raw)
    one, other = read_seen(tmp_path)
    assert one.columns == ("a", "b", "y") and one.target == "y" and one.n_rows == 20 and len(one.prints) == 20
    assert other.target is None and other.covered == ("a", "b", "y")
    assert one.matches(draw(20, 0), labeled=True).all() and other.matches(draw(10, 1), labeled=False).all()


def old_bytes(frame: pd.DataFrame, target: str) -> bytes:
    """What icl 0.1 wrote of one table."""
    head = [{"name": "old.csv", "columns": list(frame.columns), "target": target}]
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        head=np.frombuffer(json.dumps(head).encode(), dtype=np.uint8),
        rows_0=np.sort(row_fingerprints(frame)),
        features_0=np.sort(row_fingerprints(frame, [c for c in frame.columns if c != target])),
    )
    return buffer.getvalue()


def test_a_release_of_icl_0_1_is_read_and_handed_on_blurred(tmp_path):
    trained = draw(50, 0)
    raw = old_bytes(trained, "y")
    facts = {"file": "fingerprints.npz", "sha256": hashlib.sha256(raw).hexdigest(), "rows": 50}
    (tmp_path / "provenance.json").write_text(json.dumps({"fingerprints": facts}))
    (tmp_path / "fingerprints.npz").write_bytes(raw)
    [old] = read_seen(tmp_path)
    assert old.salt is None and old.bits == 64 and old.matches(trained, labeled=True).all()
    raw = to_bytes([old])
    (tmp_path / "provenance.json").write_text(json.dumps({"fingerprints": described([old], raw)}))
    (tmp_path / "fingerprints.npz").write_bytes(raw)
    [again] = read_seen(tmp_path)
    assert again.bits == bits_for(50) == 14 and again.matches(trained, labeled=True).all()
    assert again.matches(draw(2_000, 1), labeled=False).mean() < 4 / ONE_IN


# The attack: what a holder of the release, who guesses what values the cells may have, learns of the rows.

VALUES = {
    "age": np.arange(18, 78),
    "zip": np.arange(8000, 8300),
    "income": np.arange(20, 120),
    "sex": ["f", "m"],
    "disease": ["none", "flu", "gout", "angina", "asthma"],
}
N_ROWS = 240


def patients() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({name: rng.choice(values, N_ROWS) for name, values in VALUES.items()})


def unmix(x: np.ndarray) -> np.ndarray:
    """The inverse of the finaliser that icl 0.1 put over a row's sum."""
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, None)):
        x = x ^ (x >> np.uint64(shift)) ^ (x >> np.uint64(2 * shift))
        if factor is not None:
            x = x * np.uint64(pow(factor, -1, 2**64))
    return x - np.uint64(0x9E3779B97F4A7C15)


def meet_in_the_middle(prints: np.ndarray) -> set[tuple]:
    """All rows of the 18 million possible ones whose cells sum up to a print: two columns against the others."""
    own = {name: unmix(row_fingerprints(pd.DataFrame({name: values}))) for name, values in VALUES.items()}
    left, right = (np.array(list(itertools.product(*(range(len(VALUES[n])) for n in names))))
                   for names in (("age", "zip"), ("income", "sex", "disease")))  # fmt: skip
    sums = own["age"][left[:, 0]] + own["zip"][left[:, 1]]
    rest = own["income"][right[:, 0]] + own["sex"][right[:, 1]] + own["disease"][right[:, 2]]
    order = np.argsort(sums)
    found = set()
    for whole in unmix(prints):
        wanted = whole - rest
        place = np.searchsorted(sums, wanted, sorter=order).clip(max=len(sums) - 1)
        for k in np.flatnonzero(sums[order[place]] == wanted):
            indices = [*left[order[place[k]]], *right[k]]
            found.add(tuple(VALUES[name][i] for name, i in zip(VALUES, indices, strict=True)))
    return found


def test_rows_cannot_be_recovered_as_they_could_from_icl_0_1():
    table = patients()
    truth = set(table.itertuples(index=False, name=None))
    assert meet_in_the_middle(row_fingerprints(table)) == truth  # the attack works: every row, labels and all
    [tuned] = seen_of({"t": table}, "disease")
    [all_columns] = seen_of({"t": table}, None)
    for prints in (tuned.prints, all_columns.prints, row_prints(table, SALT, 64)):
        # As they are and in the leading bits, where the old scheme would have had them.
        for guess in (prints, prints << np.uint64(64 - tuned.bits)):
            assert not meet_in_the_middle(guess) & truth
    blurred = Seen("t", tuple(VALUES), None, np.unique(row_fingerprints(table)), N_ROWS, 0.0, 64, None).blurred(16)
    assert not meet_in_the_middle(blurred.prints << np.uint64(48)) & truth


def test_whoever_lists_all_possible_rows_is_left_with_a_crowd_and_without_labels():
    """A thirtieth of all 3.6 million possible rows, the true ones among them as often: with a fast hash here."""
    table = patients()
    [tuned] = seen_of({"t": table}, "disease")
    rng = np.random.default_rng(1)
    known = {name: values for name, values in VALUES.items() if name != "disease"}
    listed = pd.DataFrame({name: rng.choice(values, 120_000) for name, values in known.items()})
    listed = pd.concat([listed, table[list(known)].iloc[:8]])
    matching = listed[tuned.matches(listed, labeled=False)]
    is_true = matching.set_index(list(known)).index.isin(table.set_index(list(known)).index)
    assert is_true.sum() >= 8 and is_true.mean() < 0.05
    for disease in VALUES["disease"]:  # a known row: the fingerprint is the same whatever its label
        assert tuned.matches(table.assign(disease=disease), labeled=True).all()

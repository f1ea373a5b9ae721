"""Laws of `icl.audit`: fresh rows pass, copies and broken rows do not."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import icl
from icl.joint.audit.likeness import auc_and_variance
from icl.joint.audit.nearest import distances, memorised


def people(n: int, seed: int) -> pd.DataFrame:
    """Mixed columns that depend on one another, with gaps, whole numbers, a boolean and dates."""
    rng = np.random.default_rng(seed)
    age = rng.normal(45, 14, n).clip(18, 90).round()
    sex = rng.choice(["F", "M"], n)
    income = np.exp(0.02 * age + 0.3 * (sex == "M") + rng.normal(9, 0.4, n)).round(2)
    frame = pd.DataFrame(
        {
            "age": age.astype(int),
            "sex": sex,
            "income": np.where(rng.random(n) < 0.1, np.nan, income),
            "owns": rng.random(n) < 1 / (1 + np.exp(-(age - 45) / 8)),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
        }
    )
    return frame


UNASKED = DummyClassifier()  # for laws of which telling rows apart is no part
REAL, HOLDOUT, FRESH = people(300, 0), people(300, 1), people(300, 2)


@pytest.fixture(scope="module")
def fresh():
    return icl.audit(REAL, FRESH, holdout=HOLDOUT)


def test_fresh_rows_pass(fresh):
    assert fresh.likeness.lower < 0.5 < fresh.likeness.upper
    assert not fresh.memorised.is_excess and fresh.memorised.n_exact == 0
    assert abs(fresh.coverage.covered - fresh.coverage.expected) < 0.04
    assert {code for code, _ in fresh.findings} <= {"columns"}
    assert fresh.useful is None and fresh.n_holdout == 300


@pytest.mark.parametrize("holdout", [None, HOLDOUT], ids=["none held out", "held out"])
@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_copies_are_found(holdout, noise):
    rng = np.random.default_rng(3)
    copies = REAL.sample(60, random_state=0)
    copies = copies.assign(income=copies["income"] * (1 + noise * rng.normal(size=60)))
    mixed = pd.concat([FRESH[:240], copies], ignore_index=True)
    found = icl.audit(REAL, mixed, holdout=holdout, detector=UNASKED).memorised
    assert found.is_excess
    assert found.n_exact == (60 if noise == 0 else found.n_exact)
    # The nearest pairs name the copies and their originals.
    first = found.rows.head(20)
    assert (first["synthetic"] >= 240).all()
    assert (copies.index[first["synthetic"] - 240] == first["real"]).all()


def test_one_copy_of_rows_that_cannot_coincide_is_found():
    real, fresh, held = (
        table.assign(height=np.random.default_rng(seed).normal(170, 8, 300))
        for seed, table in enumerate((REAL, FRESH, HOLDOUT))
    )
    mixed = pd.concat([fresh, real.dropna()[:1]], ignore_index=True)
    found = icl.audit(real, mixed, holdout=held, detector=UNASKED).memorised
    assert found.n_exact == 1 and found.is_excess
    of_levels = [table[["sex", "owns"]] for table in (real, mixed, held)]  # where they do coincide
    assert not icl.audit(*of_levels[:2], holdout=of_levels[2], detector=UNASKED).memorised.is_excess


def test_false_alarms_of_memorised_rows_are_rare():
    """Of 100 generators that remember nothing, the test at 1 % may accuse a few."""
    alarms = {"held out": 0, "none held out": 0}
    is_level = np.array([False, False, True])
    for seed in range(100):
        rng = np.random.default_rng(seed)
        train, holdout, synthetic = (
            np.column_stack([rng.random((80, 2)), rng.integers(0, 3, 80)]).astype(float) for _ in range(3)
        )
        names = pd.RangeIndex(80), pd.RangeIndex(80)
        alarms["held out"] += memorised(train, synthetic, holdout, is_level, names).is_excess
        alarms["none held out"] += memorised(train, synthetic, None, is_level, names).is_excess
    assert max(alarms.values()) <= 5, alarms


def test_independent_columns_are_told_apart():
    rng = np.random.default_rng(0)
    broken = pd.DataFrame({name: rng.permutation(REAL[name].to_numpy()) for name in REAL}).astype(REAL.dtypes)
    found = icl.audit(REAL, broken, holdout=HOLDOUT)
    codes = dict(found.findings)
    assert "distinguishable" in codes and "pairs" in codes and "memorised" not in codes
    assert (found.columns["distance"] < 1e-9).all()  # each column by itself is the real one
    assert found.pairs.difference > 1.5 * found.pairs.by_chance


def test_cells_that_no_real_row_holds_are_strange():
    wrong = FRESH.assign(age=FRESH["age"] + 0.5, sex="X", income=FRESH["income"] * 100)
    strange = icl.audit(REAL, wrong, detector=UNASKED).columns.set_index("column")["strange"]
    assert strange["age"] == strange["sex"] == 1 and strange["income"] > 0.9 and strange["owns"] == 0


def test_noise_costs_accuracy():
    rng = np.random.default_rng(1)
    noise = FRESH.assign(owns=rng.random(300) < 0.5)
    keep, options = ["age", "owns"], {"target": "owns", "predictor": LogisticRegression(), "detector": UNASKED}
    of = {
        name: icl.audit(REAL[keep], rows[keep], holdout=HOLDOUT[keep], **options)
        for name, rows in (("fresh", FRESH), ("noise", noise))
    }
    assert of["fresh"].useful.lower < 0 < of["fresh"].useful.upper
    assert of["noise"].useful.lower > 0 and "costs_accuracy" in dict(of["noise"].findings)
    assert of["noise"].useful.auc_synthetic < of["fresh"].useful.auc_synthetic


def test_the_area_and_its_variance():
    rng = np.random.default_rng(0)
    scores, is_positive = rng.random(200).round(1), rng.random(200) < 0.4
    area, variance = auc_and_variance(scores, is_positive)
    assert area == pytest.approx(roc_auc_score(is_positive, scores))
    draws = []
    for seed in range(400):  # of populations with the same law
        g = np.random.default_rng(seed)
        draws.append(auc_and_variance(g.random(200).round(1), g.random(200) < 0.4)[0])
    assert variance == pytest.approx(np.var(draws), rel=0.25)


def test_distances_are_a_metric_that_knows_gaps():
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.random(30), rng.integers(0, 3, 30)]).astype(float)
    rows[::4, 0] = np.nan
    rows[::5, 1] = np.nan
    D = distances(rows, rows, np.array([False, True]))
    assert np.allclose(D, D.T) and np.allclose(np.diag(D), 0) and D.max() <= 1
    assert (D[:, :, None] + D[None] >= D[:, None, :] - 1e-12).all()
    assert distances(np.array([[np.nan, 1]]), np.array([[0.3, 1]]), np.array([False, True]))[0, 0] == 0.5


def test_units_and_names_of_levels_do_not_matter(fresh):
    def renamed(table):
        return table.assign(income=table["income"] * 1e6, sex=table["sex"].map({"F": "x", "M": "y"}))

    other = icl.audit(renamed(REAL), renamed(FRESH), holdout=renamed(HOLDOUT))
    assert fresh.likeness.auc == pytest.approx(other.likeness.auc, abs=1e-6)
    assert fresh.memorised.near == other.memorised.near and fresh.coverage == other.coverage


def test_same_seed_same_audit_and_it_shows_itself(fresh):
    again = icl.audit(REAL, FRESH, holdout=HOLDOUT)
    assert again.summary() == fresh.summary() == repr(fresh)
    assert json.loads(json.dumps(fresh.to_dict()))["n_synthetic"] == 300
    page = fresh.to_html()
    assert page.count("<img") == 4 and "Told from real rows" in page and "http" not in page.split("base64")[0]
    with pytest.raises(ValueError, match="distances"):
        fresh.plot("ages")


def test_names_are_text_on_the_page():
    evil = "<b>$x$</b>"
    tables = [table[["age", "sex"]].rename(columns={"age": evil}) for table in (REAL, FRESH)]
    assert evil not in icl.audit(*tables, detector=UNASKED).to_html()


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="lacks the columns"):
        icl.audit(REAL, FRESH.drop(columns="age"))
    with pytest.raises(ValueError, match="below 20"):
        icl.audit(REAL, FRESH[:5])
    for real, fresh in (
        (REAL.rename(columns={REAL.columns[0]: REAL.columns[1]}), FRESH),
        (REAL, pd.concat([FRESH, FRESH], axis=1)),
    ):
        with pytest.raises(ValueError, match="several columns named"):
            icl.audit(real, fresh)
    with pytest.raises(ValueError, match="no column"):
        icl.audit(REAL, FRESH, target="wage")
    with pytest.raises(ValueError, match="'age' holds"):
        icl.audit(REAL, FRESH.assign(age="old"))
    with pytest.raises(ValueError, match="level"):
        icl.audit(REAL, FRESH, level=95)

"""The tables of the fine-tuning study: nobody who is asked about was trained on, and codes are read back rightly."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import finetune_domains as study
from benchmarks.finetune_report import ARMS, gains


@pytest.fixture
def folder(tmp_path):
    """Six questions about 80 patients; four of the tables hold codes in the order of text, in an order of their own."""
    (tmp_path / "clf").mkdir()
    rng = np.random.default_rng(0)
    patients = pd.DataFrame({"age": rng.permutation(80) + 5.0, "TSH": rng.choice([0.5, 2, 10, np.nan], 80)})
    patients.insert(1, "sex", rng.choice(["F", "M"], 80))
    patients = pd.concat([patients, patients.iloc[:3]])  # three come twice
    texts = {c: sorted({study.text_of(v) for v in patients[c]}) for c in patients}
    coded = pd.DataFrame({c: [float(texts[c].index(study.text_of(v))) for v in patients[c]] for c in patients})
    for k, name in enumerate(study.CONDITIONS):
        kind = np.where(patients.age > 60 + k, "a", np.where(patients.age > 55 + k, "b", "healthy"))
        plain = name in ("hypothyroid", "sick")
        table = (patients.reset_index(drop=True) if plain else coded).assign(target=kind)
        table.sample(frac=1, random_state=k).to_parquet(tmp_path / "clf" / f"{name}.parquet", index=False)
    return tmp_path


def test_patients_are_found_again_and_dealt_to_one_half(folder):
    halves = study.thyroid_tables(folder)
    ages = [{name: set(table.age) for name, table in half.items()} for half in halves]
    for name in study.CONDITIONS:
        known, fresh = (half[name] for half in ages)
        assert not known & fresh and known | fresh == set(np.arange(80) + 5.0)
        assert known == ages[0]["sick"] and fresh == ages[1]["sick"]
    for half in halves:
        for k, (name, table) in enumerate(half.items()):
            assert name == study.CONDITIONS[k] and table.columns.tolist() == ["age", "sex", "TSH", "target"]
            assert len(table) == 40 and set(table.sex) == {"F", "M"}
            assert (table.target == np.where(table.age > 55 + k, "condition", "none")).all()


def test_rows_of_two_defect_tables_are_in_neither(tmp_path):
    (tmp_path / "clf").mkdir()
    rng = np.random.default_rng(0)
    for k, name in enumerate(study.DEFECTS):
        table = pd.DataFrame(rng.normal(size=(40, 2)), columns=[f"{name} a", f"{name} b"]).assign(target="no")
        table.iloc[0, :2] = [1.0, k // 2]  # the same in two tables
        table.iloc[1] = table.iloc[2]
        table.to_parquet(tmp_path / "clf" / f"{name}.parquet", index=False)
    for table in study.defect_tables(tmp_path).values():
        assert len(table) == 38 and not (table.iloc[:, 0] == 1.0).any()


def test_a_gain_is_positive_where_the_tuned_one_is_better():
    rows = [
        {"table": t, "seed": s, "n": 50, "arm": arm, "auc": 0.5 + g, "log_loss": 1 - g}
        for t in ("u", "v") for s in (0, 1) for arm, g in zip(ARMS, (0.0, 0.1, 0.3 + s / 10), strict=True)
    ]  # fmt: skip
    for metric in ("auc", "log_loss"):
        np.testing.assert_allclose(gains(pd.DataFrame(rows), metric, "base", 50), [0.35, 0.35])
        np.testing.assert_allclose(gains(pd.DataFrame(rows), metric, "prior only", 50), [0.25, 0.25])

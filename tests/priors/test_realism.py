"""Meta-features against known answers, and the classifier that tells real from synthetic against known cases."""

import numpy as np
import pandas as pd
import pytest

from priors.cli import main
from priors.metafeatures import GROUPS, MEANING, meta_features
from priors.realism import read_tables, tell_apart


def facts_of(X, y=None, flags=None, classify=False):
    X = np.asarray(X, float)
    y = np.arange(len(X), dtype=float) if y is None else y
    flags = np.zeros(X.shape[1], bool) if flags is None else np.asarray(flags)
    return meta_features(X, y, flags, classify, np.random.default_rng(0))


def test_moments_are_those_of_the_distribution():
    rng = np.random.default_rng(0)
    n = 12_000
    facts = facts_of(np.stack([rng.exponential(size=n), rng.exponential(size=n)], 1), rng.normal(size=n))
    # 4 standard errors; the variance of an exponential's sample skewness is about 60 / n.
    assert abs(np.expm1(facts["skew"]) - 2) < 4 * np.sqrt(60 / n)
    assert abs(facts["y_skew"]) < 4 * np.sqrt(6 / n) and abs(facts["y_kurtosis"]) < 4 * np.sqrt(24 / n)
    # Beyond 3 interquartile ranges (ln 3 each) of the median (ln 2), upwards only.
    share = np.exp(-(np.log(2) + 3 * np.log(3)))
    assert abs(facts["outliers"] - share) < 4 * np.sqrt(share / n)


def test_shares_and_counts():
    rng = np.random.default_rng(1)
    X = np.stack(
        [rng.normal(size=200), rng.integers(0, 2, 200), rng.integers(0, 5, 200), rng.normal(size=200).round(1)], 1
    )
    X[:50, 0] = np.nan
    y = np.repeat([0, 1, 2, 2], 50)
    facts = facts_of(X, y, [False, False, True, False], classify=True)
    assert facts["categorical"] == 0.25 and facts["binary"] == 0.25 and facts["cardinality"] == np.log2(5)
    assert facts["missing"] == 50 / 800 and facts["missing_columns"] == 0.25
    assert facts["majority"] == 0.5 and facts["n_classes"] == np.log2(3)
    assert facts["class_entropy"] == pytest.approx(1.5 * np.log(2) / np.log(3))
    assert facts["distinct"] == pytest.approx((1 + len(np.unique(X[:, 3])) / 200) / 2)
    assert np.isnan(facts["y_skew"])


def test_a_spectrum_of_copies_has_rank_one():
    z = np.random.default_rng(2).normal(size=(300, 1))
    facts = facts_of(np.concatenate([z, 2 * z, -z], 1))
    assert facts["correlation_max"] == pytest.approx(1) and facts["top_eigenvalue"] == pytest.approx(1)
    assert facts["rank"] == pytest.approx(1 / 3)


def test_the_gap_is_positive_for_xor_and_not_for_a_line():
    X = np.random.default_rng(3).normal(size=(400, 3))
    xor = facts_of(X, ((X[:, 0] > 0) ^ (X[:, 1] > 0)).astype(int), classify=True)
    assert xor["forest"] > 0.6 and xor["linear"] < 0.3 and xor["gap"] > 0.4 and xor["best_column"] < 0.3
    line = facts_of(X, X @ [1.0, 2.0, 0.0])
    assert line["linear"] > 0.9 and line["gap"] < 0.05 and line["associated"] == pytest.approx(2 / 3)
    noise = facts_of(X, np.random.default_rng(4).normal(size=400))
    assert max(noise["forest"], noise["linear"], noise["neighbours"]) < 0.15


def test_units_do_not_matter():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(120, 4))
    X[:, 3] = rng.integers(0, 4, 120)
    X[rng.random(X.shape) < 0.1] = np.nan
    y = np.nan_to_num(X[:, 0]) + rng.normal(size=120)
    flags = [False, False, False, True]
    assert facts_of(X * [4, 0.25, 1024, 1], 8 * y, flags) == pytest.approx(facts_of(X, y, flags), abs=1e-6, nan_ok=True)


def random_rows(shift: str | None, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.normal(size=(300, len(MEANING))), columns=list(MEANING))
    rows["real"], rows["classify"] = np.arange(300) < 120, rng.random(300) < 0.6
    rows["group"] = np.arange(300).astype(str)
    if shift:
        rows.loc[~rows["real"], shift] += 2.5
    return rows


def test_tables_of_one_law_cannot_be_told_apart():
    auc, importance = tell_apart(random_rows(None), n_trees=7)
    for label in ("all", "classification", "regression", *(f"{group} alone" for group in GROUPS)):
        value, error = auc[label]
        assert abs(value - 0.5) < 4 * error, label
    assert importance["importance"].abs().max() < 0.1


def test_what_differs_is_found_and_named():
    auc, importance = tell_apart(random_rows("kurtosis"), n_trees=7)
    assert auc["all"][0] > 0.9 and auc["shape alone"][0] > 0.9
    assert abs(auc["dependence alone"][0] - 0.5) < 4 * auc["dependence alone"][1]
    assert importance.index[0] == "kurtosis" and importance.loc["kurtosis", "alone"] > 0.9


def test_tables_of_one_family_share_a_fold():
    """Near-copies of a table in other folds would be recognised rather than judged."""
    rows = random_rows(None)
    copies = rows[rows["real"]].sample(10, random_state=0)
    rows = pd.concat([rows[~rows["real"]], *[copies] * 12], ignore_index=True)
    value, _ = tell_apart(rows, n_trees=7)[0]["all"]
    assert value < 0.8  # without groups: 1.0


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(6)
    lines = []
    for k in range(12):
        X = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc"))
        X["d"] = np.where(rng.random(60) < 0.2, None, rng.choice(["x", "y", "z"], 60))
        X["target"] = rng.choice(["no", "yes"], 60) if k % 2 else X["a"] + rng.normal(size=60)
        X.to_parquet(tmp_path / f"t{k}.parquet")
        lines.append(
            {"name": f"t{k}", "task": "clf" if k % 2 else "reg", "file": f"t{k}.parquet", "tier": 1 if k else 3}
        )
    pd.DataFrame(lines).to_csv(tmp_path / "index.csv", index=False)
    return tmp_path


def test_real_tables_are_coded_as_tasks_are(folder):
    tables = list(read_tables(folder))
    assert len(tables) == 11  # a table of tier 3 is left out
    table = tables[0]
    assert table.classify and table.X.shape == (60, 4) and table.is_categorical.tolist() == [False] * 3 + [True]
    levels = table.X[:, 3]
    assert set(levels[~np.isnan(levels)]) == {0, 1, 2} and 0 < np.isnan(levels).mean() < 0.5
    assert set(table.y) == {0, 1}


def test_the_command_writes_its_report(folder, tmp_path, monkeypatch, capsys):
    import priors.realism

    monkeypatch.setattr(priors.realism, "N_TREES", 4)
    out = tmp_path / "report"
    assert main(["realism", "--tables", str(folder), "--n", "8", "--out", str(out)]) == 0, capsys.readouterr().err
    text = (out / "realism.md").read_text()
    assert "11 real tables and 8 tasks" in text and all(f"| {name} |" in text for name in MEANING)
    assert (out / "realism.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_an_index_is_refused(tmp_path, capsys):
    assert main(["realism", "--tables", str(tmp_path)]) == 1
    assert "index.csv" in capsys.readouterr().err

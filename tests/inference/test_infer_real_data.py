"""Published studies (where ../shared has their data) and a small simulated twin of them."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit

from icl.inference import Logistic, Mean, infer

FOLDER = Path(__file__).parents[3] / "shared" / "reference" / "ppi"
STUDIES = pytest.mark.skipif(not (FOLDER / "forest.npz").is_file(), reason="the published data are not in ../shared")


def study(name: str, n: int) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """Labeled and unlabeled rows of the published split, and what ppi-python 0.2.3 says about them."""
    rows = pd.DataFrame(dict(np.load(FOLDER / f"{name}.npz")))
    rows = rows.iloc[np.random.RandomState(0).permutation(len(rows))]
    reference = json.loads((FOLDER / "ppi_py_realdata_reference.json").read_text())
    return rows[:n], rows[n:].drop(columns="Y"), reference


@STUDIES
@pytest.mark.parametrize(("weight", "key"), [("auto", "ci"), (1, "ci_lam1"), (0, "classical")])
def test_the_share_of_deforested_plots_is_the_published_one(weight, key):
    labeled, unlabeled, reference = study("forest", 200)
    options = dict(labeled=labeled, unlabeled=unlabeled, predictions="Yhat", weight=weight)
    peer = infer(Mean("Y"), **options, compat="ppi_py")
    assert_allclose(peer.interval(0.95).to_numpy().ravel(), np.ravel(reference["forest"][key]), atol=1e-8)
    lower, upper = infer(Mean("Y"), **options).interval(0.95).iloc[0]
    assert lower < reference["forest"]["theta_full"] < upper
    assert 1 < (upper - lower) / np.diff(peer.interval(0.95)).item() < 1.035  # t, and the jackknife: 1.032


@STUDIES
def test_the_odds_ratio_of_disordered_residues_is_narrower_than_the_published_one():
    labeled, unlabeled, reference = study("alphafold", 800)
    expected = reference["alphafold_odds_ratio"]
    for g in (0, 1):
        own = lambda part, g=g: part[part["phosphorylated"] == g]
        mean = infer(Mean("Y"), labeled=own(labeled), unlabeled=own(unlabeled), predictions="Yhat", compat="ppi_py")
        assert_allclose(mean.interval(0.95).to_numpy()[0], np.ravel(expected[f"mu{g}_ci"]), atol=1e-8)
    result = infer(
        Logistic("Y", covariates=["phosphorylated"]), labeled=labeled, unlabeled=unlabeled, predictions="Yhat"
    )
    lower, upper = result.interval(0.90).loc["phosphorylated"]
    assert lower < math.log(expected["theta_full"]) < upper
    assert upper - lower < 0.65 * np.diff(np.log(expected["or_ci"])).item()


def twin(seed: int, n_rows: int = 2_000, n: int = 300) -> pd.DataFrame:
    """A binary outcome in two groups, with shares .18 and .336, and overconfident predictions that are too low."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, n_rows).astype(float)
    p = np.where(rng.uniform(size=n_rows) < np.where(group == 1, 0.44, 0.2), 0.7, 0.05)
    y = (rng.uniform(size=n_rows) < p).astype(float)
    f = expit(1.5 * np.log(p / (1 - p)) - 0.4 + 0.3 * rng.normal(size=n_rows))
    return pd.DataFrame({"y": np.where(np.arange(n_rows) < n, y, np.nan), "group": group, "f": f})


def test_one_interval_of_an_odds_ratio_covers_and_is_narrower_than_two_of_means():
    truth, level, n_reps = math.log(0.336 / 0.664 / (0.18 / 0.82)), 0.90, 250
    hits, ours, bonferroni = [], [], []
    for r in range(n_reps):
        table = twin(70_000 + r)
        result = infer(Logistic("y", covariates=["group"]), table, predictions="f")
        lower, upper = result.interval(level).loc["group"]
        hits.append(lower < truth < upper)
        ours.append(upper - lower)
        if r < 50:
            means = [infer(Mean("y"), table[table["group"] == g], predictions="f", compat="ppi_py") for g in (0, 1)]
            m = np.array([mean.interval(1 - (1 - level) / 2).to_numpy()[0] for mean in means])
            bonferroni.append(np.diff(np.log(m / (1 - m))).sum())
    assert abs(np.mean(hits) - level) < 4 * math.sqrt(level * (1 - level) / n_reps)
    assert np.mean(ours) < 0.75 * np.mean(bonferroni)

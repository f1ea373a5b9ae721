"""Two checkpoints side by side: equal ones tie, better ones win by a paired interval, trained rows are not asked."""

import numpy as np
import pandas as pd
import pytest

from icl.commands.main import main
from icl.estimators.compare import GENERAL, NEW, Comparison, compare_checkpoints
from icl.releases.folder import save_release
from icl.tables.bundled import bundled_tables


def make_table(seed: int, numeric: bool = False, n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    return pd.DataFrame({"a": a, "b": b, "y": a + b if numeric else np.where(a + b > 0, "yes", "no")})


@pytest.fixture(scope="module")
def other(tiny_model, tmp_path_factory):
    """A release with other weights."""
    import copy

    import torch

    model = copy.deepcopy(tiny_model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.8)
    return save_release(model, tmp_path_factory.mktemp("other") / "other", {"seed": 1}, dtype=torch.float32)


def test_a_checkpoint_ties_with_itself(tiny_release):
    tables = {"labels": make_table(0), "amounts": make_table(1, numeric=True)}
    found = compare_checkpoints(tiny_release, tiny_release, tables, target="y", general=None, seeds=2, members=1)
    assert sorted(found.scores.metric.unique()) == ["auc", "log_loss", "nll", "r2"]
    assert (found.scores.gain == 0).all() and len(found.scores) == 8
    assert set(found.scores.n_context) == {30} == set(found.scores.n_query)
    assert (found.summary()[["gain"]] == 0).all(axis=None)


def test_scores_are_those_of_the_estimators(tiny_release, other):
    """By hand, on the same split: the gain in log loss and its standard error over rows."""
    found = compare_checkpoints(tiny_release, other, make_table(0), target="y", general=None, seeds=1, members=2)
    line = found.scores.set_index("metric").loc["log_loss"]
    assert line.gain == pytest.approx(line.before - line.after) and line.gain != 0
    auc = found.scores.set_index("metric").loc["auc"]
    assert auc.gain == pytest.approx(auc.after - auc.before) and np.isnan(auc.std_error)
    [row] = found.summary().query("metric == 'log_loss'").itertuples()
    assert row.interval == "rows" and row.upper - row.gain == pytest.approx(1.959964 * line.std_error)


def test_the_bootstrap_over_tables_covers(monkeypatch):
    """Normal gains around 0.02: the 90 % interval holds it in 88 % of draws with 20 tables, as bootstraps of few do."""
    monkeypatch.setattr("icl.estimators.compare._N_RESAMPLES", 500)
    rng, hits, n_reps = np.random.default_rng(0), 0, 300
    for _ in range(n_reps):
        gain = 0.02 + 0.05 * rng.normal(size=20)
        scores = pd.DataFrame(
            {"group": NEW, "task": "classification", "metric": "auc", "table": range(20), "seed": 0}
            | {"before": 0.0, "after": gain, "gain": gain, "std_error": np.nan}
        )
        [row] = Comparison(scores, {}, ("a", "b")).summary(0.9).itertuples()
        hits += row.lower < 0.02 < row.upper
        assert row.interval == "tables"
    assert abs(hits / n_reps - 0.88) < 4 * np.sqrt(0.9 * 0.1 / n_reps)


def test_the_command_prints_and_writes(tiny_release, other, tmp_path, capsys):
    (tmp_path / "wards").mkdir()
    make_table(0).to_csv(tmp_path / "wards" / "w.csv", index=False)
    options = ["--tables", str(tmp_path / "wards"), "--target", "y", "--general", "none", "--seeds", "1"]
    command = ["compare", str(tiny_release), str(other), *options, "--members", "1"]
    assert main([*command, "--output", str(tmp_path / "scores.csv")]) == 0
    shown = capsys.readouterr().out
    assert "new tables" in shown and "log_loss" in shown and "w.csv" in shown and "gain" in shown
    assert len(pd.read_csv(tmp_path / "scores.csv")) == 2
    assert main(["compare", str(tiny_release), str(other), *options[:2], "--general", "none"]) == 1
    assert "--target" in capsys.readouterr().err


def test_bundled_tables_are_general_ones():
    tables = bundled_tables()
    assert len(tables) == 7 and all("target" in t for t in tables.values())
    assert GENERAL == "general tables"

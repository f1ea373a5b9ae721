"""Inference with a fine-tuned checkpoint: rows that it was trained on are refused, and why that is right."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

import icl
from icl import FinetuneConfig, ICLClassifier, ICLRegressor, finetune
from icl.estimators.compare import compare_checkpoints
from icl.finetuning import held_out as holdout
from icl.inference import Mean, infer
from icl.network.config import own_fields
from icl.releases import seen
from icl.releases.folder import load_release, save_release
from icl.releases.names import CheckpointError
from icl.training.average import average_releases
from icl.training.pretraining import PretrainingModule

N_REPS, LEVEL = 200, 0.90


class TunedOnThem(RegressorMixin, BaseEstimator):
    """What fine-tuning on rows leaves behind, in closed form: weights that hold the labels of `X`, `y`.

    Ridge regression on 60 random features, and a `fit` that changes no weight, as an in-context model's does not.
    """

    def __init__(self, X, y):
        self.X, self.y = X, y

    def _features(self, X) -> np.ndarray:
        rng = np.random.default_rng(0)
        return np.cos(np.asarray(X) @ rng.normal(size=(2, 60)) * 2 + rng.uniform(0, 6, 60))

    def fit(self, X, y):
        Z = self._features(self.X)
        self.coef_ = np.linalg.solve(Z.T @ Z + 0.5 * np.eye(60), Z.T @ self.y)
        return self

    def predict(self, X) -> np.ndarray:
        return self._features(X) @ self.coef_


def coverage(knows_the_labels: bool, n_reps: int) -> float:
    """Share of nominal 90 % intervals for a mean that hold it, over draws of 50 labelled and 300 unlabelled rows.

    The predictor was trained on the labelled rows of the analysis, or on 50 rows that were held out from it.
    """
    rng, hits = np.random.default_rng(0), 0
    for _ in range(n_reps):
        X = rng.normal(size=(400, 2))
        y = X[:, 0] + rng.normal(size=400)
        tuned_on = slice(0, 50) if knows_the_labels else slice(350, 400)
        table = pd.DataFrame({"a": X[:350, 0], "b": X[:350, 1], "y": y[:350]})
        table.loc[50:, "y"] = np.nan
        predictor = TunedOnThem(X[tuned_on], y[tuned_on])
        low, high = infer(Mean("y"), table=table, predictor=predictor, weight=1, folds=2).interval(LEVEL).iloc[0][:2]
        hits += low < 0 < high
    return hits / n_reps


def test_what_the_refusal_prevents():
    """Cross-fitting does not help where the labels are in the weights: 90 % intervals cover far less.

    With the tuned rows held out from the analysis they cover as they should (two-sided, four standard errors).
    """
    error = np.sqrt(LEVEL * (1 - LEVEL) / N_REPS)
    assert coverage(knows_the_labels=True, n_reps=80) < 0.75  # .60 of many; .90 would not be below .766
    assert abs(coverage(knows_the_labels=False, n_reps=N_REPS) - LEVEL) < 4 * error


def draw(seed: int, n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    return pd.DataFrame({"a": a, "b": b, "y": a + b + 0.1 * rng.normal(size=n)})


@pytest.fixture(scope="module")
def tuned(tiny_release, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holdout, "_PRIOR_STEPS", 1)
        patch.setattr(seen.secrets, "token_bytes", bytes)
        config = FinetuneConfig(target="y", steps=2, check_every=2, max_rows=40, n_cells=100, lr=1e-3, replay=0.0)
        tables = {f"t{k}": draw(k) for k in range(3)}
        return finetune(tiny_release, tables, config, out=tmp_path_factory.mktemp("release") / "tuned")


def analysis(labeled: pd.DataFrame) -> dict:
    return {"labeled": labeled, "unlabeled": draw(7, 30).drop(columns="y")}


def trained_table(tuned) -> pd.DataFrame:
    import json

    facts = json.loads((tuned / "provenance.json").read_text())
    return draw(int(facts["finetuning"]["tables"][0]["name"][1:]))


def test_infer_refuses_trained_rows_and_takes_fresh_ones(tuned, tiny_release):
    predictor = ICLRegressor(tuned, n_estimators=1)
    known, fresh = trained_table(tuned), draw(9, 40)
    with pytest.raises(ValueError, match=r"was fine-tuned on 20 of the 20 labeled rows.*held out"):
        infer(Mean("y"), **analysis(known.iloc[:20]), predictor=predictor, folds=2)
    with pytest.raises(ValueError, match="fine-tuned on 6 of the 46 labeled rows"):
        infer(Mean("y"), **analysis(pd.concat([fresh, known.iloc[:6]])), predictor=predictor, folds=2)
    assert np.isfinite(infer(Mean("y"), **analysis(fresh), predictor=predictor, folds=2).estimate).all()
    # The checkpoint that it started from knows nothing.
    base = ICLRegressor(tiny_release, n_estimators=1)
    assert np.isfinite(infer(Mean("y"), **analysis(known.iloc[:20]), predictor=base, folds=2).estimate).all()


def test_fingerprints_are_handed_on_when_a_tuned_checkpoint_is_tuned_again(tuned, tmp_path, monkeypatch):
    monkeypatch.setattr(holdout, "_PRIOR_STEPS", 1)
    config = FinetuneConfig(target="y", steps=1, max_rows=40, n_cells=100, lr=1e-3, replay=0.0)
    again = finetune(tuned, {"other": draw(20)}, config, out=tmp_path / "again")
    with pytest.raises(ValueError, match="fine-tuned on 20 of the 20"):
        infer(Mean("y"), **analysis(trained_table(tuned).iloc[:20]), predictor=ICLRegressor(again), folds=2)


def test_whatever_is_made_of_a_tuned_release_says_what_it_has_seen(tuned, tiny_release, tmp_path, monkeypatch):
    """The mean of releases, a saved estimator that carries its weights, and pretraining, which refuses."""
    monkeypatch.setattr(holdout, "_PRIOR_STEPS", 1)
    config = FinetuneConfig(target="y", steps=1, max_rows=40, n_cells=100, lr=1e-3, replay=0.0)
    again = finetune(tuned, {"other": draw(20)}, config, out=tmp_path / "again")
    mean = average_releases([str(tuned), str(again), tiny_release], str(tmp_path / "mean"))
    rows = lambda folder: sorted((s.name, s.n_rows) for s in seen.read_seen(Path(folder)))
    assert rows(mean) == rows(again) != rows(tuned)  # what was inherited counts once
    card = (mean / "README.md").read_text()
    assert "fine-tuned on real ones" in card and "no real data" not in card
    known, fresh = trained_table(tuned), draw(9, 40)
    predictor = ICLRegressor(mean, n_estimators=1)
    with pytest.raises(ValueError, match="fine-tuned on 20 of the 20"):
        infer(Mean("y"), **analysis(known.iloc[:20]), predictor=predictor, folds=2)
    assert np.isfinite(infer(Mean("y"), **analysis(fresh), predictor=predictor, folds=2).estimate).all()

    fitted = ICLRegressor(mean, n_estimators=1, companions=()).fit(fresh.drop(columns="y"), fresh["y"])
    carried = icl.load(fitted.save(tmp_path / "carried", weights="inside"))
    assert rows(carried.checkpoint) == rows(mean)
    with pytest.raises(ValueError, match="fine-tuned on 20 of the 20"):
        infer(Mean("y"), **analysis(known.iloc[:20]), predictor=carried, folds=2)
    assert np.isfinite(infer(Mean("y"), **analysis(fresh), predictor=carried, folds=2).estimate).all()

    start = PretrainingModule(own_fields(load_release(mean).config), init_from=str(mean))
    with pytest.raises(CheckpointError, match="real rows, which pretraining would make it forget"):
        start.on_fit_start()

    save_release(load_release(tiny_release), mean, {})  # other weights in its place
    assert rows(mean) == [] and "no real data" in (mean / "README.md").read_text()
    assert not (mean / "fingerprints.npz").exists()


def test_rows_held_out_of_one_table_may_be_labelled(tiny_release, tmp_path, monkeypatch):
    monkeypatch.setattr(holdout, "_PRIOR_STEPS", 1)
    monkeypatch.setattr(seen.secrets, "token_bytes", bytes)  # no chance match may come and go with the salt
    table = draw(30, 100)
    config = FinetuneConfig(target="y", steps=1, max_rows=40, n_cells=100, lr=1e-3, replay=0.0)
    out = finetune(tiny_release, table, config, out=tmp_path / "mine")
    [tuned] = seen.read_seen(out)
    known = tuned.matches(table, labeled=True)
    assert known.sum() == 80
    predictor = ICLRegressor(out, n_estimators=1)
    assert np.isfinite(infer(Mean("y"), **analysis(table[~known]), predictor=predictor, folds=2).estimate).all()
    found = compare_checkpoints(tiny_release, out, {"t": table}, target="y", general=None, seeds=1, members=1)
    assert (found.scores.n_query == 20).all()  # the others were trained on


def test_an_estimator_that_tunes_inside_fit_is_cross_fitted_not_refused(tiny_release, monkeypatch):
    """Each fold tunes on the others' rows only, and every fold is answered by its own weights."""
    from icl.finetuning import one_table as single

    monkeypatch.setattr(single, "MIN_ROWS", 20)
    monkeypatch.setattr(single, "_CLEAR", -np.inf)  # keep whatever came out, so that folds differ
    asked = []
    usual = single.tune_on_table

    def watching(start, cells, *rest):
        tuned, report = usual(start, cells, *rest)
        asked.append((len(cells), tuned))
        return tuned, report

    monkeypatch.setattr(single, "tune_on_table", watching)
    table = draw(3, 90).assign(y=lambda t: (t.y > 0).astype(float))
    table.loc[60:, "y"] = np.nan
    config = FinetuneConfig(steps=3, lr=2e-2, replay=0.0, max_rows=40, n_cells=100)
    predictor = ICLClassifier(tiny_release, n_estimators=1, finetune=config)
    result = infer(Mean("y"), table=table, predictor=predictor, folds=2)
    assert [n for n, _ in asked] == [30, 30] and np.isfinite(result.estimate).all()
    weights = [next(t.parameters()) for _, t in asked if t is not None]
    assert len(weights) == 2 and not np.array_equal(weights[0].numpy(), weights[1].numpy())

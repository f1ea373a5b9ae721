"""`finetune=` of the estimators: kept only where held-out rows say so, refused with few rows."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from icl import FinetuneConfig, FinetuneRefusedWarning, ICLClassifier, ICLRegressor
from icl.finetuning import one_table as single

# The tiny model says that 200 rows are its limit.
pytestmark = [
    pytest.mark.filterwarnings("ignore:the context has .* rows:UserWarning"),
    pytest.mark.filterwarnings("ignore::icl.OutOfPriorWarning"),
]
QUICK = FinetuneConfig(steps=25, lr=1e-2, replay=0.0, max_rows=60, n_cells=300)


def draw(n: int, seed: int = 0, noise: bool = False) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
    signal = rng.normal(size=n) if noise else X.a + X.b
    return X, np.where(signal > 0, "up", "down")


@pytest.fixture(scope="module")
def tuned(tiny_release):
    X, y = draw(400)
    return ICLClassifier(tiny_release, n_estimators=2, finetune=QUICK, companions=("ridge",)).fit(X, y), X, y


def test_tuned_weights_are_kept_where_they_clearly_help(tuned, tiny_release):
    """A random model knows nothing of the table; a few steps teach it the rule, which new rows confirm."""
    model, X, y = tuned
    found = model.finetune_
    assert found.kept and found.n_rows == 80 and found.loss_before - found.loss_after > 1.645 * found.std_error
    fresh, truth = draw(300, seed=1)
    before = ICLClassifier(tiny_release, n_estimators=2, companions=("ridge",)).fit(X, y)
    assert (model.predict(fresh) == truth).mean() > (before.predict(fresh) == truth).mean() + 0.1


def test_a_pickle_and_a_clone(tuned):
    model, X, _ = tuned
    np.testing.assert_allclose(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X), atol=1e-6)
    fresh = clone(model)
    assert fresh.finetune == QUICK and not hasattr(fresh, "finetune_")


def test_noise_keeps_the_checkpoint(tiny_model):
    """Labels that mean nothing, and a checkpoint that says so: nothing can do better, so nothing is kept."""
    ignorant = copy.deepcopy(tiny_model)
    with torch.no_grad():
        ignorant.class_head[-1].weight.zero_()
        ignorant.class_head[-1].bias.zero_()
    X, y = draw(400, noise=True)
    model = ICLClassifier(ignorant, n_estimators=1, finetune=QUICK, companions=()).fit(X, y)
    assert not model.finetune_.kept and model.finetune_.reason[:10] in ("not better", "no rate im")
    np.testing.assert_allclose(model.predict_proba(X), 0.5)


def test_copies_of_a_row_never_train_and_decide(tiny_model, monkeypatch):
    X, y = draw(320)
    rows = np.random.default_rng(0).permutation(np.repeat(np.arange(320), 2))
    asked, trained = [], []

    def views(table, target, context, query, *rest):
        asked.append(rows[query])
        trained.append(rows[context])
        return []

    monkeypatch.setattr(single, "_views", views)
    monkeypatch.setattr(single, "_mean_loss", lambda *_: 1.0)
    monkeypatch.setattr(single, "short_run", lambda model, *_: model)
    cells = X.to_numpy(dtype=np.float32)[rows]
    codes = np.unique(y, return_inverse=True)[1][rows]
    tuned, report = single.tune_on_table(tiny_model, cells, np.zeros(cells.shape[1], int), codes, 2, QUICK)
    assert tuned is None and report.n_rows == 64
    assert not set(trained[0]) & set(asked[0]) and not set(trained[0]) & set(asked[1])
    assert len(set(asked[0]) | set(asked[1])) == len(asked[0]) + len(asked[1]) == 128


def test_too_few_rows_are_refused_with_a_warning(tiny_release):
    X, y = draw(single.MIN_ROWS - 1)
    with pytest.warns(FinetuneRefusedWarning, match="299 labelled rows are too few.*300 are needed"):
        model = ICLRegressor(tiny_release, n_estimators=1, finetune=True).fit(X, X.a)
    assert not model.finetune_.kept and model.finetune_.n_rows == 0
    with pytest.warns(FinetuneRefusedWarning, match="299 labelled rows are too few"):  # copies are no more rows
        ICLRegressor(tiny_release, n_estimators=1, finetune=True, max_rows=300).fit(pd.concat([X] * 2), np.tile(X.a, 2))
    X, _ = draw(400)
    y = np.array(["common"] * 398 + ["rare"] * 2)
    with pytest.warns(FinetuneRefusedWarning, match="a class has 2 rows"):
        ICLClassifier(tiny_release, n_estimators=1, finetune=QUICK).fit(X, y)
    with pytest.raises(ValueError, match=r"finetune must be True, False or an icl\.FinetuneConfig, got 'yes'"):
        ICLClassifier(tiny_release, finetune="yes").fit(X, y)

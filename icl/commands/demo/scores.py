"""Zero-shot prediction beside two classical methods: the same few context rows, the same held-out rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from icl.commands.demo.tables import RealTable

OURS = "in-context"
BAND = 0.9
N_TREES = 200


def models(is_classification: bool, checkpoint: str | None, seed: int) -> dict[str, Any]:
    """Unfitted estimators by name: ours, a linear one, a random forest."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from icl import ICLClassifier, ICLRegressor

    if is_classification:
        return {
            OURS: ICLClassifier(checkpoint, random_state=seed),
            "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000)),
            "forest": RandomForestClassifier(N_TREES, random_state=seed),
        }
    return {
        OURS: ICLRegressor(checkpoint, random_state=seed),
        "ridge": make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 16))),
        "forest": RandomForestRegressor(N_TREES, random_state=seed),
    }


def split_rows(table: RealTable, n_context: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the context rows and of the held-out rows, which are all the others."""
    from sklearn.model_selection import train_test_split

    stratify = table.y if table.is_classification else None
    rows = np.arange(len(table.y))
    context, held_out = train_test_split(rows, train_size=n_context, random_state=seed, stratify=stratify)
    return context, held_out


def score_models(
    table: RealTable, n_context: int, n_splits: int, checkpoint: str | None, seed: int, tick: Callable[[], None]
) -> pd.DataFrame:
    """One row for each (split, method): roc_auc and log_loss, or r2 and rmse, and the seconds of fit plus predict."""
    import pandas as pd

    records = []
    for split in range(n_splits):
        context, held_out = split_rows(table, n_context, seed + split)
        X, y = table.X.iloc[context], table.y.iloc[context]
        X_new, y_new = table.X.iloc[held_out], table.y.iloc[held_out]
        for name, model in models(table.is_classification, checkpoint, seed).items():
            start = time.perf_counter()
            model.fit(X, y)
            answer = model.predict_proba(X_new) if table.is_classification else model.predict(X_new)
            seconds = time.perf_counter() - start
            scores = (_classification_scores if table.is_classification else _regression_scores)(y_new, answer, model)
            setting = {"table": table.name, "n_context": n_context, "split": split, "method": name}
            records.append({**setting, **scores, "seconds": seconds})
        tick()
    return pd.DataFrame(records)


def predictive_band(table: RealTable, n_context: int, checkpoint: str | None, seed: int) -> pd.DataFrame:
    """Held-out rows of the first split: truth, low, median, high of the central 90% band, and pit = F(truth)."""
    import pandas as pd
    import torch

    from icl import ICLRegressor

    context, held_out = split_rows(table, n_context, seed)
    model = ICLRegressor(checkpoint, random_state=seed).fit(table.X.iloc[context], table.y.iloc[context])
    truth = table.y.iloc[held_out].to_numpy(dtype=float)
    distribution = model.predict_distribution(table.X.iloc[held_out])
    with torch.inference_mode():
        low, median, high = (
            distribution.icdf(torch.full((len(truth),), q, dtype=torch.double)).numpy()
            for q in ((1 - BAND) / 2, 0.5, (1 + BAND) / 2)
        )
        pit = distribution.cdf(torch.tensor(truth)).numpy()
    return pd.DataFrame({"truth": truth, "low": low, "median": median, "high": high, "pit": pit})


def central_coverage(pit: np.ndarray, nominal: np.ndarray) -> np.ndarray:
    """Share of true values inside the central interval of each nominal coverage."""
    return np.array([np.mean(np.abs(pit - 0.5) <= level / 2) for level in nominal])


def _classification_scores(y: pd.Series, proba: np.ndarray, model: Any) -> dict[str, float]:
    from icl.network.metrics import class_scores

    # Forests give probabilities of zero: the floor is scikit-learn's, so that such a miss costs what it costs there.
    found = class_scores(proba, np.searchsorted(model.classes_, y), least=float(np.finfo(proba.dtype).eps))
    return {"roc_auc": found["auc"], "log_loss": found["log_loss"]}


def _regression_scores(y: pd.Series, predicted: np.ndarray, model: Any) -> dict[str, float]:
    from icl.network.metrics import number_scores

    found = number_scores(predicted, y.to_numpy(dtype=float))
    return {"r2": found["r2"], "rmse": found["rmse"]}

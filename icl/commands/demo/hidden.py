"""Hide most labels of a table whose labels are all known, estimate from what is left, and compare with the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from icl.commands.demo.tables import RealTable
    from icl.inference import Estimand, InferenceResult


@dataclass(frozen=True)
class Study:
    """A question to a table of which only `n_labeled` outcomes are shown."""

    question: str
    table: RealTable
    estimand: Estimand
    terms: tuple[str, ...]
    """The parameters that the question is about."""
    predictor: Any
    n_labeled: int = 60


@dataclass(frozen=True)
class Answer:
    """What `infer` says with most labels hidden, beside what it says with none hidden."""

    study: Study
    result: InferenceResult
    full_data: pd.Series
    """(P,) the answer from all labels."""
    estimates: pd.DataFrame
    """A row for each (term, method) of the question: `InferenceResult.compare` with full_data and covers."""


def studies(tables: dict[str, RealTable], checkpoint: str | None, seed: int) -> list[Study]:
    """The questions of the demonstration; `tables` by name."""
    from icl import ICLClassifier, ICLRegressor
    from icl.inference import OLS, Mean

    diabetes, cancer = tables["diabetes"], tables["breast cancer"]
    number, label = ICLRegressor(checkpoint, random_state=seed), ICLClassifier(checkpoint, random_state=seed)
    mean, slopes = Mean("progression"), OLS("progression ~ age + sex")
    share = Mean("diagnosis", event="malignant")
    return [
        Study("How far does diabetes progress, on average?", diabetes, mean, ("progression",), number),
        Study("How does progression differ by age and sex?", diabetes, slopes, ("age", "sex"), number),
        Study("Which share of tumours is malignant?", cancer, share, ("diagnosis=malignant",), label),
    ]


def hide_labels(table: RealTable, n_labeled: int, seed: int) -> pd.DataFrame:
    """The table with the outcome missing except on `n_labeled` rows, drawn at random."""
    kept = np.random.default_rng(seed).permutation(len(table.y))[:n_labeled]
    shown = np.zeros(len(table.y), dtype=bool)
    shown[kept] = True
    return table.X.assign(**{str(table.y.name): table.y.where(shown)})


def answer(study: Study, level: float, seed: int) -> Answer:
    """`infer` on the table with hidden labels, and on the whole table."""
    from icl.inference import infer

    table = hide_labels(study.table, study.n_labeled, seed)
    result = infer(study.estimand, table=table, predictor=study.predictor, seed=seed, level=level)
    full_data = infer(study.estimand, table=study.table.frame, level=level).estimate
    rows = result.compare().reset_index()
    rows = rows[rows["term"].isin(study.terms)].assign(full_data=lambda r: r["term"].map(full_data))
    rows["covers"] = (rows["lower"] <= rows["full_data"]) & (rows["full_data"] <= rows["upper"])
    rows.insert(0, "estimand", str(study.estimand))
    order = {term: i for i, term in enumerate(study.terms)}
    rows = rows.sort_values("term", key=lambda terms: terms.map(order), kind="stable").reset_index(drop=True)
    return Answer(study, result, full_data, rows)


def redraw(
    study: Study, n_contexts: int, n_draws: int, level: float, seed: int, tick: Callable[[], None], n_context: int = 60
) -> pd.DataFrame:
    """How often the intervals hold when labels are hidden again and again.

    `n_context` random rows are set aside and serve as the context of all predictions. The other rows are a population
    whose answer is known. Each of `n_draws` takes labeled and unlabeled rows from it with replacement, as many as there
    are, so that the draws are independent samples and the nominal coverage is what a valid interval must show. All
    this `n_contexts` times, because one predictor may happen to be right on average, which flatters imputation.

    Returns:
        One row for each (term, method): coverage, its Monte-Carlo error (over contexts), and mean_width.
    """
    import pandas as pd

    parts = [
        _draws(study, study.table.frame, n_context, n_draws, level, np.random.default_rng([seed, i]), tick).assign(
            context=i
        )
        for i in range(n_contexts)
    ]
    by_context = pd.concat(parts).groupby(["term", "method", "context"], sort=False)
    means = by_context.agg(coverage=("covers", "mean"), mean_width=("width", "mean"), valid=("valid", "first"))
    groups = means.groupby(["term", "method"], sort=False)
    table = groups.agg({"coverage": "mean", "mean_width": "mean", "valid": "first"})
    table["monte_carlo_error"] = groups["coverage"].std() / np.sqrt(n_contexts)
    table = table.reset_index()
    table.insert(0, "estimand", str(study.estimand))
    return table


def _draws(
    study: Study, frame: pd.DataFrame, n_context: int, n_draws: int, level: float, rng: Any, tick: Callable[[], None]
) -> pd.DataFrame:
    """A row for each (draw, term, method): covers, width, valid."""
    import pandas as pd

    from icl.inference import infer

    order = rng.permutation(len(frame))
    population = frame.iloc[order[n_context:]].reset_index(drop=True)
    outcome = study.table.y.name
    predicted = _predict_once(study, frame.iloc[order[:n_context]], population.drop(columns=outcome))
    seen = population[[outcome, *study.estimand.covariate_columns]]
    covariates, truth = seen.drop(columns=outcome), infer(study.estimand, table=seen).estimate
    parts = []
    for _ in range(n_draws):
        rows = rng.integers(0, len(population), len(population))
        labeled, unlabeled = rows[: study.n_labeled], rows[study.n_labeled :]
        result = infer(
            study.estimand,
            labeled=seen.iloc[labeled],
            unlabeled=covariates.iloc[unlabeled],
            predictions=(predicted[labeled], predicted[unlabeled]),
            level=level,
        )
        parts.append(result.compare()[["lower", "upper", "valid"]].reset_index())
        tick()
    draws = pd.concat(parts, ignore_index=True)
    draws = draws[draws["term"].isin(study.terms)]
    target = draws["term"].map(truth)
    covers = (draws["lower"] <= target) & (target <= draws["upper"])
    return draws.assign(covers=covers, width=draws["upper"] - draws["lower"])


def _predict_once(study: Study, context: pd.DataFrame, X: pd.DataFrame) -> np.ndarray:
    """Predictions of rows X from `context`, as `infer` would use them."""
    from sklearn.base import clone, is_classifier

    from icl.inference import Mean

    outcome = study.table.y.name
    model = clone(study.predictor)
    if not is_classifier(model):
        return model.fit(context.drop(columns=outcome), context[outcome]).predict(X)
    assert isinstance(study.estimand, Mean), "a classifier predicts the event of a share"
    event = (context[outcome] == study.estimand.event).astype(int)
    return model.fit(context.drop(columns=outcome), event).predict_proba(X)[:, 1]

"""Synthetic rows in an analysis: what they may do, and beside it what they must not.

Stack the moments of real rows and of synthetic rows. Rows that were drawn by themselves have a parameter of their own
and are independent of the real ones given the generator: the best weights of the stack give them none, and the answer
is that of the real rows to the digit. Rows that were each drawn on condition of a real row have the covariates of that
row and go with its outcome: in the stack they are what predictions are, and their weight is tuned as theirs is.
Counting synthetic rows as real ones is shown for contrast: the estimate moves towards the generator, and the interval
shrinks with the number of rows that somebody chose to draw.

Source:
    Moments of real and synthetic rows stacked: arXiv:2508.06635.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.engine.answer import Rectified
from icl.inference.estimands import Estimand, Multinomial
from icl.inference.estimands.effect import Effect
from icl.inference.estimands.reading import read_estimand
from icl.inference.frames import as_frame, require_columns
from icl.inference.inputs.sample import Sample, read_sample
from icl.inference.results.result import InferenceResult

if TYPE_CHECKING:
    import pandas as pd

WHY_NOT = "INVALID: synthetic rows counted as real"


def infer_synthetic(analyse: Callable[..., InferenceResult], given: dict[str, Any]) -> InferenceResult:
    """What `infer` gives with `synthetic=`: the debiased answer, and naive pooling among the methods of `compare`.

    Args:
        analyse: `infer`.
        given: its arguments.
    Raises:
        ValueError: for rows that cannot be used, saying why.
    """
    asked = given["synthetic"]
    rows, link = asked if isinstance(asked, tuple) and len(asked) == 2 else (asked, None)
    estimand = given["estimand"]
    if isinstance(estimand, str):
        estimand = read_estimand(estimand, table=given["labeled"] if given["table"] is None else given["table"])
    rows = as_frame(rows, "synthetic")
    if isinstance(estimand, Effect) or given["compat"] is not None or given["missing"] != "refuse":
        raise ValueError("synthetic= goes with neither an Effect nor compat= nor missing=; leave it out.")
    sample = read_sample(estimand, given["table"], given["labeled"], given["unlabeled"])
    needed = [*estimand.outcome_columns, *estimand.covariate_columns]
    require_columns(rows, needed, "synthetic rows", f"for {str(estimand)!r}")
    n_missing = int(rows[needed].isna().any(axis=1).sum())
    if n_missing:
        raise ValueError(f"{n_missing} of {len(rows)} synthetic rows lack a value of {needed}; leave them out.")
    options = {**given, "synthetic": None, "estimand": estimand}
    if link is None:
        notes = [_without_link(len(rows))]
    else:
        options["predictions"] = linked(rows, link, sample, estimand, given)
        notes = _on_links(rows, sample)
    result = analyse(**options)
    pooled = _pooled(analyse, options, sample, rows, needed, result)
    return replace(result, diagnostics=[*result.diagnostics, *notes], controls=(pooled,))


def linked(
    rows: pd.DataFrame, link: Hashable, sample: Sample, estimand: Estimand, given: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """The mean synthetic outcome of each labeled and unlabeled row.

    Args:
        link: column of `rows` that holds the name (index) of the real row that each was drawn for.
    """
    if given["predictor"] is not None or given["predictions"] is not None:
        raise ValueError("linked synthetic rows are predictions; leave out predictor= and predictions=, or the link.")
    if isinstance(estimand, Multinomial) or len(estimand.outcome_columns) != 1:
        raise ValueError(f"linked synthetic rows need one outcome of numbers; {str(estimand)!r} has another.")
    require_columns(rows, [link], "synthetic rows", "as the names of the real rows")
    if not sample.index.is_unique:
        raise ValueError("the real rows have names (index) that repeat; call reset_index(drop=True) before drawing.")
    outcome = rows[estimand.outcome_columns[0]].astype(float)
    means = outcome.groupby(rows[link].to_numpy()).mean()
    places = means.index.get_indexer(sample.index)
    lacking = int((places < 0).sum())
    if lacking:
        raise ValueError(
            f"{lacking} of {len(sample.index)} real rows have no synthetic row in column {link!r}; draw one for each, "
            f"labeled and unlabeled: icl.generate(table, given=rows[covariates], folds=5)."
        )
    _check_covariates(rows, link, sample, estimand)
    f = means.to_numpy()[places][np.asarray(sample.order)]
    return f[: len(sample.labeled)], f[len(sample.labeled) :]


def _check_covariates(rows: pd.DataFrame, link: Hashable, sample: Sample, estimand: Estimand) -> None:
    names = list(estimand.covariate_columns)
    if not names:
        return
    real = sample.columns(names).set_axis(sample.index[np.asarray(sample.order)])
    own = rows[rows[link].isin(sample.index)]
    there = real.loc[own[link]]
    for name in names:
        a, b = own[name].to_numpy(), there[name].to_numpy()
        same = np.isclose(a.astype(float), b.astype(float)) if a.dtype.kind in "iufb" else a == b
        if not np.all(same):
            raise ValueError(
                f"covariate {name!r} of {int(np.sum(~same))} synthetic rows differs from that of the real row it was "
                f"drawn for; draw the outcome only, given the covariates of each real row."
            )


def _without_link(n: int) -> Diagnostic:
    return Diagnostic(
        "synthetic_cannot_help",
        f"the {n:,} synthetic rows were not each drawn on condition of a real row: they say nothing about the "
        "population that the rows which their generator saw do not say, so they get no weight and the answer is that "
        "without them. Rows drawn for real rows without an outcome may help: synthetic=(rows, 'row'), where column "
        "'row' names the real row of each.",
    )


def _on_links(rows: pd.DataFrame, sample: Sample) -> list[Diagnostic]:
    notes = []
    if not len(sample.unlabeled):
        why = "there are no real rows beyond the labeled ones, so synthetic rows drawn for these cannot help."
        notes.append(Diagnostic("synthetic_cannot_help", why))
    if not rows.attrs.get("folds"):
        notes.append(
            Diagnostic(
                "synthetic_may_have_seen",
                "nothing shows that the synthetic row of a labeled row was drawn without its outcome; if the generator "
                "saw it, the interval is too short. icl.generate(table, given=rows, folds=5) draws out of fold.",
            )
        )
    return notes


def _pooled(
    analyse: Callable[..., InferenceResult],
    options: dict[str, Any],
    sample: Sample,
    rows: pd.DataFrame,
    needed: list,
    result: InferenceResult,
) -> tuple[Rectified, str]:
    """The textbook answer of labeled and synthetic rows together, and what is wrong with it."""
    import pandas as pd

    real = sample.labeled[needed]
    together = pd.concat([real, rows[needed]], ignore_index=True)
    for name in needed:
        if isinstance(real[name].dtype, pd.CategoricalDtype):
            together[name] = together[name].astype(real[name].dtype)
    keys = ("estimand", "std_error", "reference", "level", "seed")
    terms = result.estimate.index
    try:
        found = analyse(**{key: options[key] for key in keys}, labeled=together)
        if list(found.estimate.index) != list(terms):
            raise ValueError("the synthetic rows have other terms")
    except ValueError as reason:
        gap = np.full(len(terms), np.nan)
        return Rectified("pooled", gap, np.diag(gap), np.inf, is_valid=False), f"not available: {reason}"
    estimate, covariance = found.estimate.to_numpy(), found.covariance.to_numpy()
    return Rectified("pooled", estimate, covariance, found.df, is_valid=False), WHY_NOT

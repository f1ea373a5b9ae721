"""Every method on the same rows with the same predictions, as a DataFrame that prints whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from icl.inference.engine.answer import Rectified
from icl.inference.engine.solve import Solver
from icl.inference.results.intervals import bounds, variance_ratio
from icl.inference.results.wording import comparison_table
from icl.pages.page import Page
from icl.pages.table import Table

METHODS = ("classical", "imputed", "ppi", "ppi++", "synsurr")
FOR_EFFECTS = {"ipw": 0.0, "aipw": 1.0}
BIASED = "INVALID unless {}"
WHY = {"difference in means": "treatment was assigned at random", "regression": "the outcome is linear in covariates"}


class Comparison(pd.DataFrame):
    """A DataFrame in everything but its looks: pandas would cut it off, this prints as the reports do."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame  # what is made of it is no comparison any more

    def to_table(self) -> Table:
        """The rounded table of the reports; the column `note` is left out."""
        return comparison_table(pd.DataFrame(self), self.attrs["level"], self.attrs["chosen"])

    def __repr__(self) -> str:
        return self.to_table().to_text()

    def _repr_html_(self) -> str:
        page = Page("")
        page.table(self.to_table())
        return page.fragment()


def compare_methods(
    solver: Solver, chosen: Rectified, terms: list[str], level: float, controls: Sequence[tuple[Rectified, str]] = ()
) -> Comparison:
    """What `InferenceResult.compare` gives."""
    problem = solver.problem
    names = list(METHODS if problem.has_predictions else METHODS[:1])
    if problem.arms is not None:
        names = _methods_for_effects(solver, chosen)
    if problem.compat and "synsurr" in names:
        names.remove("synsurr")
    if chosen.name not in names:
        names.append(chosen.name)
    if problem.sampling.has_label_shift:
        names = ["classical", "imputed", chosen.name]
    classical = solver.under(0.0)
    answers = [(chosen, "") if name == chosen.name else _solve_by_name(solver, name) for name in names]
    names += [answer.name for answer, _ in controls]
    columns: dict[str, list[np.ndarray]] = defaultdict(list)  # one table of them all: one of each method takes longer
    for answer, note in [*answers, *controls]:
        lower, upper = bounds(solver, answer, level)
        with_n = answer.is_valid and np.isfinite(answer.std_error).all()
        cells: dict[str, Any] = {
            "estimate": answer.estimate,
            "std_error": answer.std_error,
            "lower": lower,
            "upper": upper,
            "weight": answer.weight,
            "n_effective": len(problem.y) * variance_ratio(classical, answer) if with_n else np.nan,
            "valid": answer.is_valid,
            "note": np.array(note, dtype=object),
        }
        for column, value in cells.items():
            columns[column].append(np.broadcast_to(value, len(terms)))
    index: list[Any] = [np.repeat(np.array(names, dtype=object), len(terms)), terms * len(names)]
    found = {column: np.concatenate(values) for column, values in columns.items()}
    frame = Comparison(found, pd.MultiIndex.from_arrays(index, names=["method", "term"]))
    frame.attrs.update(level=level, chosen=chosen.name)
    return frame


def _methods_for_effects(solver: Solver, chosen: Rectified) -> list[str]:
    """In a trial the classical answer is the difference in means; elsewhere it is inverse probability weighting."""
    arms = solver.problem.arms
    names = ["classical"] if arms.is_randomised else ["difference in means"]
    if arms.covariates is not None and arms.covariates.shape[1]:
        names.append("regression")
    if not arms.is_randomised and chosen.name != "classical":
        names.append("ipw")
    return names + ["aipw"] * (arms.predicted is not None)


def _solve_by_name(solver: Solver, name: str) -> tuple[Rectified, str]:
    try:
        if solver.problem.arms is not None and name in WHY:
            answer = solver.beside(name)
            return answer, "" if answer.is_valid else BIASED.format(WHY[name])
        if solver.problem.arms is not None and name in FOR_EFFECTS:
            return solver.under(FOR_EFFECTS[name]), ""
        if name == "classical" and solver.problem.sampling.has_label_shift:
            return replace(solver.under(0.0), is_valid=False), "INVALID: the shares among the labeled rows"
        if name == "imputed":
            return solver.imputed, "INVALID: predictions counted as real outcomes"
        return solver.under({"classical": 0.0, "ppi": 1.0}.get(name, name)), ""
    except ValueError as reason:  # for instance, a category that no unlabeled row has: PPI has no answer, SynSurr has
        missing = np.full(len(solver.problem.terms), np.nan)
        return Rectified(name, missing, np.diag(missing), np.inf), f"not available: {reason}"

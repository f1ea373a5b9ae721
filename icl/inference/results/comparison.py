"""Every method on the same rows with the same predictions, as a DataFrame that prints whole."""

from __future__ import annotations

import numpy as np
import pandas as pd

from icl.inference.engine.answer import Rectified
from icl.inference.engine.solve import Solver
from icl.inference.results.intervals import bounds, variance_ratio
from icl.inference.results.wording import comparison_table
from icl.pages.page import Page
from icl.pages.table import Table

METHODS = ("classical", "imputed", "ppi", "ppi++", "synsurr")


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


def compare_methods(solver: Solver, chosen: Rectified, terms: list[str], level: float) -> Comparison:
    """What `InferenceResult.compare` gives."""
    problem = solver.problem
    names = list(METHODS if problem.has_predictions else METHODS[:1])
    if problem.compat and "synsurr" in names:
        names.remove("synsurr")
    if chosen.name not in names:
        names.append(chosen.name)
    classical = solver.under(0.0)
    parts = []
    for name in names:
        answer, note = (chosen, "") if name == chosen.name else _solve_by_name(solver, name)
        lower, upper = bounds(solver, answer, level)
        with_n = answer.is_valid and np.isfinite(answer.std_error).all()
        parts.append(
            pd.DataFrame(
                {
                    "method": name,
                    "term": terms,
                    "estimate": answer.estimate,
                    "std_error": answer.std_error,
                    "lower": lower,
                    "upper": upper,
                    "weight": answer.weight,
                    "n_effective": len(problem.y) * variance_ratio(classical, answer) if with_n else np.nan,
                    "valid": answer.is_valid,
                    "note": note,
                }
            )
        )
    frame = Comparison(pd.concat(parts, ignore_index=True).set_index(["method", "term"]))
    frame.attrs.update(level=level, chosen=chosen.name)
    return frame


def _solve_by_name(solver: Solver, name: str) -> tuple[Rectified, str]:
    try:
        if name == "imputed":
            return solver.imputed, "INVALID: predictions counted as real outcomes"
        return solver.under({"classical": 0.0, "ppi": 1.0}.get(name, name)), ""
    except ValueError as reason:  # for instance, a category that no unlabeled row has: PPI has no answer, SynSurr has
        missing = np.full(len(solver.problem.terms), np.nan)
        return Rectified(name, missing, np.diag(missing), np.inf), f"not available: {reason}"

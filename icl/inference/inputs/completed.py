"""Several completed tables in place of one: `icl.impute`'s, or a list of DataFrames from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icl.inference.checks import Diagnostic

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.estimands import Estimand


@dataclass(frozen=True)
class Completed:
    """The completed tables of one multiple imputation.

    Args:
        source: what iterates over them; `icl.joint.imputations.Imputations` also says which cells were filled.
    """

    source: Any

    def __len__(self) -> int:
        return len(self.source)

    def tables(self, estimand: Estimand, predicts: bool) -> Iterator[pd.DataFrame]:
        """The tables to analyse one after the other.

        Rows that show nothing are left out. Where rows are predicted, outcomes that were filled are gaps again: a draw
        is no label, and a predictor must not learn from draws.
        """
        blank = getattr(self.source, "unimputed_rows", ())
        filled = self._filled(estimand) if predicts else {}
        for table in self.source:
            if filled:
                table = table.copy()
                for name in filled:
                    table[name] = table[name].where(~self.source.imputed[name])
            yield table.drop(index=blank) if len(blank) and table.index.is_unique else table

    def notes(self, estimand: Estimand, predicts: bool) -> list[Diagnostic]:
        """What there is to know about the imputation before its analyses are pooled."""
        found = []
        for said in getattr(self.source, "notes", list)():
            found.append(Diagnostic("imputation", said[0].upper() + said[1:], "warning" if "R-hat" in said else "note"))
        if shift := getattr(self.source, "shift", None):
            found.append(
                Diagnostic("shifted_imputations", f"draws were shifted for a sensitivity analysis: {dict(shift)}.")
            )
        filled = self._filled(estimand)
        if filled and not predicts:
            words = ", ".join(f"{name!r} on {n}" for name, n in filled.items())
            found.append(
                Diagnostic(
                    "imputed_outcome",
                    f"the outcome {words} rows was drawn, and counts as drawn: the answer trusts the imputation there. "
                    f"impute(..., keep={list(filled)}) and a predictor make them unlabeled rows instead, whose "
                    "predictions may be wrong in any way.",
                )
            )
        return found

    def _filled(self, estimand: Estimand) -> dict[str, int]:
        """Outcome columns with filled cells, and how many."""
        counts = getattr(self.source, "drawn_outcomes", {})
        return {name: counts[name] for name in estimand.outcome_columns if name in counts}


def completed_tables(table: Any) -> Completed | None:
    """`table` as several completed tables, if it is that; None for a single table.

    Raises:
        ValueError: for a list with one table, or with tables of different sizes.
    """
    import pandas as pd

    if hasattr(table, "drawn_outcomes"):
        return Completed(table)
    if not isinstance(table, Sequence) or not len(table) or not all(isinstance(t, pd.DataFrame) for t in table):
        return None
    sizes = {t.shape for t in table}
    if len(table) < 2 or len(sizes) > 1:
        raise ValueError(
            f"table= got a list of {len(table)} DataFrames of shapes {sorted(sizes)}; several completed tables of one "
            "multiple imputation are at least two, of one shape."
        )
    return Completed(table)

"""The answer that uses rows with gaps by pattern, and `infer(..., missing="patterns")`, which makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from icl.inference.checks import Diagnostic
from icl.inference.engine.contributions import Contributions
from icl.inference.engine.patterns import Patterned, correct_by_patterns
from icl.inference.frames import as_frame, require_columns
from icl.inference.inputs.patterns import Pattern, patterns_of, said_of
from icl.inference.results.composed import Composed
from icl.inference.results.result import InferenceResult

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.estimands import Estimand

METHOD = "patterns"


class PatternedResult(Composed):
    """Complete rows corrected by rows with gaps; reads like an `InferenceResult`.

    Attributes:
        patterns: the rows with gaps that count, by the columns that they lack.
        weights: a row for each pattern, a column for each term: how much it counts.
    """

    def __init__(
        self,
        first: InferenceResult,
        numbers: Patterned,
        patterns: Sequence[Pattern],
        diagnostics: list[Diagnostic],
        model: str,
    ):
        import pandas as pd

        super().__init__(first, numbers, diagnostics)
        self.patterns = patterns
        names = pd.Index([str(pattern) for pattern in patterns], name="pattern")
        self.weights = pd.DataFrame(numbers.weights, names, first.estimate.index)
        if patterns:
            self.method, self.predictions = METHOD, f"of influences, by {model}, cross-fitted inside the call"
            self.weight = numbers.weights.mean(0)  # a pattern's weights on terms differ by sign, too: see `weights`
            self.n_unlabeled = sum(len(pattern.rows) for pattern in patterns)

    @property
    def has_predictions(self) -> bool:
        return bool(self.patterns)

    @property
    def is_tuned(self) -> bool:
        return bool(self.patterns)

    @property
    def rows_in_words(self) -> str:
        return f"{self.n_labeled:,} complete, {self.n_unlabeled:,} that lack the outcome or a covariate"

    @property
    def assumes_of_rows(self) -> str:
        if not self.patterns:
            return ""
        return (
            "that the complete rows are a random sample of all rows (missing completely at random). What is predicted "
            "of the others may be wrong in any way; n effective: complete rows that would give the same precision"
        )

    @property
    def more_facts(self) -> list[tuple[str, str]]:
        words = "; ".join(map(str, self.patterns)) or "no rows with gaps are used"
        return [("patterns", words)]

    def compare(self, level: float | None = None) -> pd.DataFrame:
        """The answer from complete rows alone, and this one; see `InferenceResult.compare`."""
        from icl.inference.results.comparison import Comparison

        level = self._at(level)
        classical = self.first.compare(level)
        if not self.patterns:
            return classical
        ends = self.interval(level)
        ours = classical.reset_index().assign(
            method=METHOD,
            estimate=self.numbers.estimate,
            std_error=self.std_error.to_numpy(),
            lower=ends["lower"].to_numpy(),
            upper=ends["upper"].to_numpy(),
            weight=self.weights.mean().to_numpy(),
            n_effective=self.n_effective.to_numpy(),
        )
        import pandas as pd

        both = Comparison(pd.concat([classical.reset_index(), ours]).set_index(list(classical.index.names)))
        both.attrs.update({**classical.attrs, "chosen": METHOD})
        return both


def infer_by_patterns(
    analyse: Callable[[pd.DataFrame], InferenceResult], estimand: Estimand, given: dict[str, Any]
) -> PatternedResult:
    """The answer from complete rows, corrected by rows with gaps.

    Args:
        analyse: the classical answer from complete rows.
        given: the arguments of `infer`.
    Raises:
        ValueError: for what this way of using rows does not know: tables in parts, predictions, designs, estimands
            that are not solved from scores.
    """
    wrong = [name for name in ("labeled", "unlabeled", "predictions", "design", "compat") if given[name] is not None]
    if given["weight"] != "auto":  # each pattern gets its own
        wrong.append("weight")
    if wrong or given["table"] is None:
        raise ValueError(
            f"missing='patterns' got {', '.join(wrong) or 'no table'}; it takes table= with all rows, and optionally "
            "predictor=, folds=, features= and seed=."
        )
    if estimand.solver != "scores":
        raise ValueError(
            f"missing='patterns' got {str(estimand)!r}, which has no influences of single rows to predict; use "
            "infer(estimand, table=icl.impute(table))."
        )
    table = as_frame(given["table"], "table")
    needed = list(dict.fromkeys([*estimand.outcome_columns, *estimand.covariate_columns]))
    require_columns(table, needed, "rows of table=", f"of {str(estimand)!r}")
    complete, patterns, notes = patterns_of(table, needed, given["features"])
    first = analyse(table.iloc[complete])
    influence = Contributions(first.problem).influence_y
    asked = (influence, given["predictor"], given["folds"], given["seed"])
    said = [said_of(table, complete, pattern, *asked) for pattern in patterns]
    covariance, df = first.covariance.to_numpy(), first.df_terms.to_numpy(dtype=float)
    parts = ([here for here, _ in said], [there for _, there in said])
    numbers = correct_by_patterns(first.estimate.to_numpy(), covariance, df, influence, *parts)
    model = "ridge on squares and products" if given["predictor"] is None else type(given["predictor"]).__name__
    notes = [*first.diagnostics, *notes]
    if patterns:
        notes.append(
            Diagnostic(
                "gaps_at_random",
                "missing='patterns' is valid if rows with gaps are a random sample of all rows (missing completely at "
                "random), and then trusts no model of the gaps. Gaps that depend on observed cells need icl.impute, "
                "which trusts its model: where the two differ, ask why.",
            )
        )
    return PatternedResult(first, numbers, patterns, notes, model)

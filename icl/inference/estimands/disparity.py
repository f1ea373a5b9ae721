"""Differences between groups in how a decision treats them, or in how right it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.estimands.base import Example, as_numbers
from icl.inference.estimands.linearised import Linearised

if TYPE_CHECKING:
    import pandas as pd

METRICS = {
    "demographic parity": "share that is decided for",
    "equal opportunity": "share decided for among those with the outcome",
    "false positive rate": "share decided for among those without the outcome",
    "predictive parity": "share with the outcome among those decided for",
    "accuracy": "share that is decided as it turned out",
}


@dataclass(frozen=True, eq=False)
class Disparity(Linearised):
    """A rate of a decision in each group, less that of a reference group, from few known outcomes.

        Disparity("approved", by="sex", metric="equal opportunity", outcome="repaid")

    Each rate is a ratio of means, (mean of a) / (mean of b) in the group, with a and b linear in the outcome (for
    equal opportunity a = decision times outcome, b = outcome), so that a row adds (a - rate b) / (mean of b) to it and
    a predicted probability of the outcome stands in for it exactly. Decision and group are known on every row.

    Args:
        decision: column of 0 and 1, known on every row; for "demographic parity" it may be the column that is known
            on labeled rows only.
        by: column of the groups.
        metric: "demographic parity", "equal opportunity" (true positive rate), "false positive rate", "predictive
            parity" (precision) or "accuracy".
        outcome: column of 0 and 1 that labeled rows have; not for "demographic parity".
        versus: the group that the others are compared with; default: the most frequent one.
    Source:
        Hardt, Price & Srebro (2016), arXiv:1610.02413, for the metrics; delta method.
    """

    decision: str
    by: str
    metric: str = "demographic parity"
    outcome_column: str | None = None
    versus: Any = None

    def __init__(
        self,
        decision: str,
        by: str,
        metric: str = "demographic parity",
        outcome: str | None = None,
        versus: Any = None,
        *,
        reference: Any = None,
    ) -> None:
        if metric not in METRICS:
            raise ValueError(f"metric got {metric!r}; known are {', '.join(map(repr, METRICS))}.")
        if (outcome is None) != (metric == "demographic parity"):
            need = "takes no outcome=" if outcome is not None else "needs outcome=, the column of what came to pass"
            raise ValueError(f"metric={metric!r} {need}.")
        fields = {"decision": decision, "by": by, "metric": metric, "outcome_column": outcome, "versus": versus}
        for name, value in (fields | {"reference": reference}).items():
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        what = "" if self.outcome_column is None else f" (outcome {self.outcome_column})"
        return f"disparity of {self.decision} by {self.by}: {self.metric}{what}"

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        return (self.decision,) if self.outcome_column is None else (self.outcome_column,)

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        return (self.by,) if self.outcome_column is None else (self.decision, self.by)

    @property
    def n_responses(self) -> int:
        return 1 if self.reference is None else len(self.reference["groups"]) - 1

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (
            # Predictions that are one number still tell the sizes of groups, which a rate depends on.
            Example(cls("treated", "group", "equal opportunity", "event"), "p", False, constants_are_silent=False),
            Example(cls("event", "group"), "p", has_units=False, constants_are_silent=False),
        )

    def parameters(self, terms: list[str]) -> list[str]:
        first, *others = self.reference["groups"]
        return [f"{self.by}={g} - {self.by}={first}" for g in others]

    def weighted(self, labeled: pd.DataFrame, weights: np.ndarray) -> Disparity:
        return Disparity(
            self.decision, self.by, self.metric, self.outcome_column, self.versus,
            reference=self.refer(labeled, weights),
        )  # fmt: skip

    def refer(self, labeled: pd.DataFrame, weights: np.ndarray) -> dict[str, Any]:
        """Groups, the reference first, their rates, and the means of b over all rows that the rates are ratios by."""
        member = labeled[self.by]
        counts = member.value_counts()
        first = counts.index[0] if self.versus is None else self.versus
        if first not in counts.index or len(counts) < 2:
            seen = list(counts.index)[:8]
            raise ValueError(
                f"{self.by!r} has the groups {seen} among labeled rows; two are needed, versus= among them."
            )
        others = sorted((g for g in counts.index if g != first), key=lambda g: (str(type(g)), g))
        groups = [first, *others]
        a, b = self._parts(self._binary(labeled, self.outcome_columns[0]), labeled)
        w = weights / weights.sum()
        base = np.array([float((w * b)[(member == g).to_numpy()].sum()) for g in groups])
        few = [str(g) for g, n in zip(groups, base, strict=True) if not n > 0]
        if few:
            raise ValueError(
                f"the groups {few} have no labeled row that the {METRICS[self.metric]} could be counted on; label more."
            )
        top = np.array([float((w * a)[(member == g).to_numpy()].sum()) for g in groups])
        return {"groups": groups, "rates": top / base, "base": base}

    def findings(self, labeled: pd.DataFrame, unlabeled: pd.DataFrame) -> Iterator[Diagnostic]:
        _, b = self._parts(self.target(labeled), labeled)
        for group, rate in zip(self.reference["groups"], self.reference["rates"], strict=True):
            n = int(np.count_nonzero(b[(labeled[self.by] == group).to_numpy()]))
            if min(rate, 1 - rate) < 1e-12:
                bound = 1 - 0.05 ** (1 / n)  # Clopper & Pearson (1934) without any event, one-sided
                yield Diagnostic(
                    "rate_without_variation",
                    f"the {METRICS[self.metric]} is {rate:.0f} in all {n} labeled rows of {self.by}={group} that it is "
                    f"counted on, so that they add nothing to the interval; the rate may lie as far as {bound:.2g} "
                    "from there (95%, one-sided). Label more rows of this group.",
                    "warning",
                )

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        return self.of_predictions(self._binary(labeled, self.outcome_columns[0]), labeled)

    def target(self, labeled: pd.DataFrame) -> np.ndarray:
        return self._binary(labeled, self.outcome_columns[0])

    def of_predictions(self, f: np.ndarray, frame: pd.DataFrame) -> np.ndarray:
        a, b = self._parts(f, frame)
        groups, rates, base = (self.reference[name] for name in ("groups", "rates", "base"))
        moves = [
            np.where((frame[self.by] == g).to_numpy(), (a - r * b) / n, 0.0)
            for g, r, n in zip(groups, rates, base, strict=True)
        ]
        out = np.column_stack([rates[k] - rates[0] + moves[k] - moves[0] for k in range(1, len(groups))])
        return out[:, 0] if out.shape[1] == 1 else out

    def _parts(self, y: np.ndarray, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """(R,) a and b."""
        if self.metric == "demographic parity":
            return y, np.ones(len(y))
        d = self._binary(frame, self.decision)
        return {
            "equal opportunity": (d * y, y),
            "false positive rate": (d * (1 - y), 1 - y),
            "predictive parity": (d * y, d),
            "accuracy": (d * y + (1 - d) * (1 - y), np.ones(len(y))),
        }[self.metric]

    def _binary(self, frame: pd.DataFrame, column: str) -> np.ndarray:
        values = as_numbers(frame[column], "a column of 0 and 1")
        if not np.isin(values, (0, 1)).all():
            raise ValueError(f"column {column!r} of {str(self)!r} must be 0 and 1.")
        return values

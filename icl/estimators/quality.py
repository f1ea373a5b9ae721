"""`quality`: members, companions and the choice of the blend in one word.

What each costs stands in benchmarks/levels.md, what the default reaches in benchmarks/blend.md. Options named beside
it (`n_estimators`, `companions`) count for themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from icl.prediction.companions.columns import LONG_ROWS, MANY_ROWS, suited

# Three quarters in place of one cost a default of 1,000 x 20 a quarter more time. Of 47 tables with so many rows they
# lowered log loss by .0010 (standard error .0003), of 31 with 250 to 599 by nothing; of numbers CRPS by .0009 (.0005)
# and R2 by nothing (benchmarks/records/surer).
_JUDGED_ROWS = 600


@dataclass(frozen=True)
class Quality:
    """One of the words.

    Args:
        few, many: members of a context below and from `MANY_ROWS` rows on.
        n_held_out: quarters of the rows that are held out, one after the other, to choose how much companions count
            by themselves, and of classes how sure the answer is; 0: companions count as columns only.
        n_of_classes: the same of classes, from `_JUDGED_ROWS` rows on.
        boosts: whether boosting is a companion from `MANY_ROWS` rows on whatever the target is.
    """

    few: int
    many: int
    n_held_out: int
    n_of_classes: int
    boosts: bool

    def n_members(self, n_rows: int) -> int:
        return self.few if n_rows < MANY_ROWS else self.many

    def n_passes(self, n_rows: int, n_classes: int | None) -> int:
        """Quarters held out of a context of so many rows and classes."""
        more = n_classes is not None and _JUDGED_ROWS <= n_rows <= LONG_ROWS
        return self.n_of_classes if more else self.n_held_out

    def companions(self, n_rows: int, n_classes: int | None) -> tuple[str, ...]:
        """Those of a context of so many rows and classes, where none are named."""
        if not self.n_held_out and n_rows <= LONG_ROWS:
            return ("ridge",)
        named = suited(n_rows, n_classes)
        more = self.boosts and n_rows >= MANY_ROWS and "boosting" not in named
        return (*named, "boosting") if more else named


# From 250 rows on two members did as well as four: on seven tables (base, at most 700 rows, ridge, kernel and trees)
# log loss .2876 and .2880; below, on two, .551 and .536.
QUALITIES = {
    "fast": Quality(1, 1, 0, 0, False),
    "default": Quality(4, 2, 1, 3, False),
    "best": Quality(8, 4, 4, 4, True),
}

"""`quality`: members, companions and the choice of the blend in one word.

What each costs stands in benchmarks/levels.md, what the default reaches in benchmarks/blend.md. Options named beside
it (`n_estimators`, `companions`) count for themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from icl.prediction.companions.columns import LONG_ROWS, MANY_ROWS, suited


@dataclass(frozen=True)
class Quality:
    """One of the words.

    Args:
        few, many: members of a context below and from `MANY_ROWS` rows on.
        n_held_out: quarters of the rows that are held out, one after the other, to choose how much companions count
            by themselves; 0: they count as columns only.
        boosting: whether boosting is a companion too, where kernel and trees are.
    """

    few: int
    many: int
    n_held_out: int
    boosting: bool = False

    def n_members(self, n_rows: int) -> int:
        return self.few if n_rows < MANY_ROWS else self.many

    def companions(self, n_rows: int) -> tuple[str, ...]:
        """Those of a context of so many rows, where none are named."""
        if not self.n_held_out and n_rows <= LONG_ROWS:
            return ("ridge",)
        named = suited(n_rows)
        more = self.boosting and n_rows >= MANY_ROWS and "boosting" not in named
        return (*named, "boosting") if more else named


# From 250 rows on two members did as well as four: on seven tables (base, at most 700 rows, ridge, kernel and trees)
# log loss .2876 and .2880; below, on two, .551 and .536.
QUALITIES = {
    "fast": Quality(few=1, many=1, n_held_out=0),
    "default": Quality(few=4, many=2, n_held_out=1),
    "best": Quality(few=8, many=4, n_held_out=4, boosting=True),
}

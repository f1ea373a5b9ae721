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
        boosts: whether boosting is a companion from `MANY_ROWS` rows on whatever the target is.
    """

    few: int
    many: int
    n_held_out: int
    boosts: bool

    def n_members(self, n_rows: int) -> int:
        return self.few if n_rows < MANY_ROWS else self.many

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
    "fast": Quality(1, 1, 0, False),
    "default": Quality(4, 2, 1, False),
    "best": Quality(8, 4, 4, True),
}

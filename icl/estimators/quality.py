"""`quality`: members, companions and the choice of the blend in one word.

What each costs stands in benchmarks/levels.md, what the default reaches in benchmarks/blend.md. Options named beside
it (`n_estimators`, `companions`) count for themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from icl.prediction.companions.columns import LONG_ROWS, MANY_ROWS, suited

_BOOSTED_ROWS = 600


@dataclass(frozen=True)
class Quality:
    """One of the words.

    Args:
        few, many: members of a context below and from `MANY_ROWS` rows on.
        n_held_out: quarters of the rows that are held out, one after the other, to choose how much companions count
            by themselves; 0: they count as columns only.
        boosts: whether boosting is a companion too, of a context of so many rows and classes (None of a number).
    """

    few: int
    many: int
    n_held_out: int
    boosts: Callable[[int, int | None], bool]

    def n_members(self, n_rows: int) -> int:
        return self.few if n_rows < MANY_ROWS else self.many

    def companions(self, n_rows: int, n_classes: int | None) -> tuple[str, ...]:
        """Those of a context of so many rows and classes, where none are named."""
        if not self.n_held_out and n_rows <= LONG_ROWS:
            return ("ridge",)
        named = suited(n_rows)
        more = self.boosts(n_rows, n_classes) and "boosting" not in named
        return (*named, "boosting") if more else named


def _boosts(n_rows: int, n_classes: int | None) -> bool:
    # On the half of the tables that choices are made on: of 32 with classes and 600 rows or more log loss fell by .0058
    # (.0017); with fewer rows by nothing beyond error. Of numbers, with the kernel's own voice, mean R2 rose by .0045
    # (.0017) (benchmarks/records/small-boosted-trees).
    return n_rows >= (MANY_ROWS if n_classes is None else _BOOSTED_ROWS)


# From 250 rows on two members did as well as four: on seven tables (base, at most 700 rows, ridge, kernel and trees)
# log loss .2876 and .2880; below, on two, .551 and .536.
QUALITIES = {
    "fast": Quality(1, 1, 0, lambda n_rows, n_classes: False),
    "default": Quality(4, 2, 1, _boosts),
    "best": Quality(8, 4, 4, lambda n_rows, n_classes: n_rows >= MANY_ROWS),
}

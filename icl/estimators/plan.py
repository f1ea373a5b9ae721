"""What of a table, and of the classical models beside it, a fit shows to the network; and what a time budget leaves.

A budget is kept by giving up, one after the other, what costs most and tells least: passes beyond the first that weigh
companions; members down to one; then, as long as they cost more than the companions, half of the rows that the network
reads, else half of the rows that companions of a long context learn from, at last the dearest companion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from icl.estimators.options import companions_of
from icl.estimators.quality import QUALITIES
from icl.network.config import TabularConfig
from icl.prediction.companions.columns import LONG_ROWS, SHOWN_ROWS, most_columns, speaks
from icl.prediction.guise import stacks
from icl.prediction.timing import Seconds, Work, companion_seconds

_MOST_ROWS, _FEWEST_ROWS, _FEWEST_LEARNT = 10_000, 250, 2_500


@dataclass(frozen=True)
class Plan:
    """Sizes of a fit and a prediction: what time, memory and answers depend on."""

    n_members: int
    companions: tuple
    n_rows: int
    """Context rows that a member sees at most."""
    n_made: int
    """Columns at most that companions add to those of the table, in one question to the network."""
    n_held_out: int = 0
    """Passes of one member that choose how much companions count by themselves, if one of them has a voice."""
    n_learnt: int | None = None
    """Rows that companions of a long context learn from at most; None: all that the network is not shown."""
    left_out: tuple[str, ...] = ()
    """What a time budget had no room for, in words."""

    def work(self, n_rows: int, n_features: int, n_classes: int | None, n_queries: int, n_slots: int) -> Work:
        """What it computes on a table of this size; `n_slots`: columns that the checkpoint takes."""
        stacked = stacks(self.n_made, n_slots)
        companions = self.companions if stacked else ()
        n_made = self.n_made if stacked else 0
        sizes = (n_rows, n_features, n_classes, n_queries, self.n_members, self.n_rows, n_made)
        n_held_out = self.n_held_out if any(speaks(one, n_classes) for one in companions) else 0
        return Work(*sizes, companions, stacked and n_rows > self.n_rows, n_held_out, self.n_learnt)

    def options(self) -> dict[str, Any]:
        """Arguments of an estimator that does the same without a budget, where one has left something out."""
        return {
            "n_estimators": self.n_members,
            "companions": self.companions,
            "max_rows": self.n_rows,
            "time_budget": None,
        }


def plan_of(estimator, n_rows: int, n_classes: int | None, config: TabularConfig) -> Plan:
    """What an estimator shows of a context, from its options and the size of the context."""
    companions = companions_of(estimator, n_rows, n_classes)
    n_made = _n_made(companions, n_classes, config)
    if estimator.max_rows != "auto":
        n_shown = int(estimator.max_rows)
    elif n_rows > LONG_ROWS and stacks(n_made, config.max_features):
        n_shown = SHOWN_ROWS
    else:
        n_shown = _MOST_ROWS
    quality = QUALITIES[estimator.quality]
    n_members, n_held_out = quality.n_members(n_rows), quality.n_passes(n_rows, n_classes)
    if estimator.n_estimators != "auto":
        # One pass: as little as the choice can do with, and what `Plan.options` stand for.
        n_members, n_held_out = estimator.n_estimators, min(n_held_out, 1)
    return Plan(n_members, companions, n_shown, n_made, n_held_out)


def within(
    plan: Plan, budget: float, table: tuple[int, int, int | None, int], seconds_of: Callable[[Work], Seconds], config
) -> Plan:
    """The plan, cut until it takes no more than `budget` seconds, or nothing is left to give up.

    Args:
        table: numbers of labelled rows, columns, classes (None for a number) and query rows.
        seconds_of: expected seconds of some work.
        config: of the network.
    """
    n_rows, n_classes = table[0], table[2]
    full = plan
    while True:
        work = plan.work(*table, config.max_features)
        seconds = seconds_of(work)
        if seconds.total <= budget:
            break
        n_shown = min(plan.n_rows, n_rows)
        more_rows = n_shown > _FEWEST_ROWS
        if work.n_held_out > 1:
            plan = replace(plan, n_held_out=1)
        elif plan.n_members > 1:
            plan = replace(plan, n_members=plan.n_members // 2)
        elif more_rows and (seconds.network > seconds.companions or not plan.companions):
            plan = replace(plan, n_rows=max(n_shown // 2, _FEWEST_ROWS))
        elif work.apart and (learnt := min(n_rows - n_shown, plan.n_learnt or n_rows)) > _FEWEST_LEARNT:
            plan = replace(plan, n_learnt=max(learnt // 2, _FEWEST_LEARNT))
        elif plan.companions:
            dearest = max(plan.companions, key=lambda companion: companion_seconds(companion, work))
            fewer = tuple(companion for companion in plan.companions if companion is not dearest)
            plan = replace(plan, companions=fewer, n_made=_n_made(fewer, n_classes, config))
        else:
            break
    return replace(plan, left_out=tuple(_left_out(full, plan, n_rows, n_classes)))


def _n_made(companions: tuple, n_classes: int | None, config: TabularConfig) -> int:
    return most_columns(companions, n_classes and min(n_classes, config.max_classes))


def _left_out(full: Plan, plan: Plan, n_rows: int, n_classes: int | None) -> list[str]:
    said = []
    if plan.n_held_out < full.n_held_out and any(speaks(one, n_classes) for one in plan.companions):
        gone_passes = full.n_held_out - plan.n_held_out
        said.append(f"{gone_passes} of {full.n_held_out} passes that weigh companions")
    if plan.n_members < full.n_members:
        said.append(f"{full.n_members - plan.n_members} of {full.n_members} members")
    gone = [str(companion) for companion in full.companions if not any(companion is kept for kept in plan.companions)]
    said += [f"companion {name}" for name in gone]
    if (shown := min(plan.n_rows, n_rows)) < min(full.n_rows, n_rows):
        whose = "companions learn from the others" if plan.companions else "nobody learns from the others"
        said.append(f"all but {shown:,} of {n_rows:,} rows before the network ({whose})")
    if plan.n_learnt and plan.companions:
        said.append(f"all but {plan.n_learnt:,} rows before the companions")
    return said

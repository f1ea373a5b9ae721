"""How long an estimator will take, said beforehand, and a budget of seconds that it keeps."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import Any, cast

from sklearn.base import is_classifier

from icl.estimators.host import Host
from icl.estimators.options import check_params, check_sizes
from icl.estimators.plan import Plan, plan_of, within
from icl.network.config import TabularConfig
from icl.prediction.timing import NOMINAL, LongWorkWarning, Seconds, expected, pace_here

_log = logging.getLogger("icl")
DEFAULT_QUERIES = 1_000
# Fits of the folds that choose a temperature, each of four fifths of the rows, and their own rows predicted.
_CALIBRATION = 4.0
# Seconds beyond which a fit says what it will take; and the share of a budget that is planned with.
_LONG, _PLANNED = 60.0, 0.8


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds that `fit` and one prediction will take on this machine, if nothing else runs on it."""

    seconds: float
    companions: float
    """Of them: companions learn and answer."""
    network: float
    """Of them: the network reads the context and answers."""
    n_queries: int
    """Rows predicted."""
    left_out: tuple[str, ...] = ()
    """What `time_budget` has no room for."""

    def __str__(self) -> str:
        parts = f"network {words_of_seconds(self.network)}, companions {words_of_seconds(self.companions)}"
        return f"about {words_of_seconds(self.seconds)} for fit and a prediction of {self.n_queries:,} rows ({parts})"


class TimedMixin(Host):
    """`time_estimate`, and the plan that `fit` makes within `time_budget`."""

    n_estimators: Any
    calibrate: Any
    finetune: Any
    time_budget: Any
    _released: Any
    _plan: Plan

    def time_estimate(
        self, n_rows: int, n_columns: int, n_queries: int | None = None, n_classes: int = 2
    ) -> TimeEstimate:
        """What fit and predict will take for a table of this size: operations, at the pace of this machine.

        The pace is measured in a tenth of a second at the first call. Right to a factor of two on an idle machine
        (tests/prediction/test_timing.py); twice as busy a machine takes twice as long. Estimators of the user's among
        the companions are taken for as fast as boosting; `finetune` and the folds of intervals are not counted (five
        folds take about four times as long again).

        Args:
            n_queries: rows to predict; None: those of `time_budget`, 1,000 without one.
            n_classes: of the target; a regressor does without.
        Raises:
            ValueError: for a size that no table has, or options that no fit takes.
        """
        check_params(self)
        sizes = {"n_rows": n_rows, "n_columns": n_columns, "n_classes": n_classes}
        check_sizes(sizes if n_queries is None else sizes | {"n_queries": n_queries})
        config = self._released().config
        table = (n_rows, n_columns, n_classes if is_classifier(self) else None, n_queries or self._budget()[1])
        plan = self._cut(plan_of(self, n_rows, table[2], config), table, config, 0.0)
        seconds = self._times(plan, table, config)
        return TimeEstimate(seconds.total, seconds.companions, seconds.network, table[3], plan.left_out)

    def settled(self, n_folds: int) -> dict[str, Any]:
        """Arguments of the parts of a cross-fit that differ from this estimator's, so that parts are planned alike."""
        if self.time_budget is None:
            return {}
        if hasattr(self, "_plan"):
            if not self._plan.left_out:
                return {"time_budget": None}
            # How many rows companions learn from is no option: such parts plan for themselves.
            return {} if self._plan.n_learnt else self._plan.options()
        return self.shared(n_folds)

    def shared(self, n_fits: int) -> dict[str, Any]:
        """Arguments of fits that share this estimator's budget alike."""
        if self.time_budget is None:
            return {}
        seconds, n_queries = self._budget()
        before = self.time_budget[2] if isinstance(self.time_budget, tuple) and self.time_budget[2:] else 1
        return {"time_budget": (cast(float, seconds) / n_fits, n_queries, n_fits * before)}

    def _plan_in_time(self, plan: Plan, size: tuple[int, int, int | None], config: TabularConfig, spent: float) -> Plan:
        """The plan, cut to the budget of which `spent` seconds are gone; says what that means, if it takes long."""
        budget, n_queries = self._budget()
        table = (*size, n_queries)
        if budget is not None:
            plan = self._cut(plan, table, config, spent)
            seconds = self._times(plan, table, config).total + spent
            without = "; ".join(plan.left_out) or "nothing"
            _log.info("time_budget: about %s planned, left out: %s", words_of_seconds(seconds), without)
            if seconds > budget:
                n_folds = self.time_budget[2] if isinstance(self.time_budget, tuple) and self.time_budget[2:] else 1
                self._warn(
                    f"time_budget: {words_of_seconds(max(budget - spent, 0))} are left for this table"
                    + (f", one of {n_folds} fits that share {words_of_seconds(budget * n_folds)}" * (n_folds > 1))
                    + f"; it takes about {words_of_seconds(seconds - spent)} even without {without}. Pass fewer rows "
                    "or columns, or a larger budget."
                )
        elif expected(plan.work(*table, config.max_features), config, NOMINAL).total > _LONG / 4:
            seconds = self._times(plan, table, config).total
            _log.info("about %s for fit and a prediction of %d rows", words_of_seconds(seconds), n_queries)
            if seconds > _LONG:
                self._warn(
                    f"fit and a prediction of {n_queries:,} rows will take about {words_of_seconds(seconds)} here; "
                    f"time_budget={_LONG:.0f} bounds that to {_LONG:.0f} seconds, at a cost in accuracy."
                )
        return plan

    @staticmethod
    def _warn(said: str) -> None:
        warnings.warn(said, LongWorkWarning, stacklevel=5)  # where `fit` was called

    def _cut(self, plan: Plan, table: tuple[int, int, int | None, int], config: TabularConfig, spent: float) -> Plan:
        seconds, _ = self._budget()
        if seconds is None:
            return plan
        return within(plan, _PLANNED * seconds - spent, table, lambda work: self._at_pace(work, config), config)

    def _times(self, plan: Plan, table: tuple[int, int, int | None, int], config: TabularConfig) -> Seconds:
        return self._at_pace(plan.work(*table, config.max_features), config)

    def _at_pace(self, work, config: TabularConfig) -> Seconds:
        seconds = expected(work, config, pace_here(self._released()))
        return seconds.times(1 + _CALIBRATION) if self.calibrate else seconds

    def _budget(self) -> tuple[float | None, int]:
        """Seconds, None for any number, and the query rows that they are for."""
        if isinstance(self.time_budget, tuple | list):
            return float(self.time_budget[0]), int(self.time_budget[1])
        return (None if self.time_budget is None else float(self.time_budget)), DEFAULT_QUERIES


def words_of_seconds(seconds: float) -> str:
    """Seconds, minutes or hours, as one says them."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"

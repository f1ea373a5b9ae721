"""Is a table far outside of what the checkpoint was pretrained on? Said once at `fit`, because no score shows it.

Only what was seen to cost accuracy is said. With nano on 165 real tables (benchmarks/quality.py), against the best of
twelve baselines: a rarest class under 1 % (7 tables) costs .067 of ROC AUC, other tables .010; a target whose standard
deviation exceeds .6 of the range of its middle 90 % (2 tables) costs .74 of R2, others .055. Heavy-tailed columns and
more columns than in pretraining cost nothing there.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.base import is_classifier

from icl.estimators.host import Host
from icl.estimators.plan import Plan
from icl.estimators.wild_labels import nearest
from icl.network.config import TabularConfig
from icl.prediction.guise import stacks
from icl.releases.names import resolve_checkpoint
from icl.releases.prior_limits import PriorLimits, limits_of
from icl.tables.strays import FAR, distance, scaled


class OutOfPriorWarning(UserWarning):
    """The table differs from all that the checkpoint was pretrained on, in a way that costs accuracy."""


def rare_classes(codes: np.ndarray, classes: np.ndarray, limits: PriorLimits) -> list[str]:
    """A sentence if a class is rarer than any in pretraining."""
    counts = np.bincount(codes, minlength=len(classes))
    share = counts / len(codes)
    # A class of one row in fifty is as rare as fifty rows can make it.
    rare = np.flatnonzero((share < limits.least_class_share) & (len(codes) * limits.least_class_share >= 1))
    if len(rare) == 0 or len(classes) * limits.least_class_share >= 1:
        return []
    least = rare[share[rare].argmin()]
    others = f" and {len(rare) - 1} other{'s' if len(rare) > 2 else ''}" if len(rare) > 1 else ""
    return [
        f"class {classes.tolist()[least]!r} holds {counts[least]} of {len(codes)} labelled rows ({share[least]:.1%})"
        f"{others}, and no class held less than {limits.least_class_share:.1%} in pretraining: label more of it, or "
        f"drop some of the other rows"
    ]


def heavy_target(y: np.ndarray, limits: PriorLimits) -> list[str]:
    """A sentence if a few values of the target are so far out that the others look alike; the farthest are named."""
    low, high = np.quantile(y, [0.05, 0.95])
    with np.errstate(over="ignore", invalid="ignore"):
        unit = np.abs(y).max() or 1.0
        spread, middle = np.std(y / unit), (high - low) / unit
    # Of twenty rows, one is already beyond the middle 90 %.
    if len(y) < 40 or spread <= limits.most_spread * middle:
        return []
    ratio = f"{spread / middle:.2g} times" if middle > 0 else "beyond"
    return [
        f"y has extreme values{_farthest(y)}: its standard deviation is {ratio} the range of its middle 90%, and at "
        f"most {limits.most_spread:g} times in 95% of the pretraining tasks; predict log(y) or a clipped y if that "
        f"serves"
    ]


def _farthest(y: np.ndarray) -> str:
    """The values that lie far from all others, and how often they come."""
    sizes = scaled(y)
    values, counts = np.unique(y[distance(sizes, sizes) > FAR], return_counts=True)
    if not len(values):
        return ""
    order = np.argsort(-np.abs(values - np.median(y)), kind="stable")[:3]
    shown = [f"{v:.12g}" + (f" in {n} rows" if n > 1 else "") for v, n in zip(values[order], counts[order])]
    return f" ({', '.join(shown)}{', ...' if len(values) > 3 else ''})"


def many_levels(n_levels: np.ndarray, names: list, limits: PriorLimits) -> list[str]:
    """A sentence if a category has more levels than any in pretraining."""
    many = np.flatnonzero(n_levels > limits.most_levels)
    if len(many) == 0:
        return []
    most = many[n_levels[many].argmax()]
    others = f" and {len(many) - 1} other{'s' if len(many) > 2 else ''}" if len(many) > 1 else ""
    return [
        f"column {names[most]!r}{others} has {n_levels[most]} levels, and at most {limits.most_levels} were seen in "
        f"pretraining: drop it if it only names rows, or merge rare levels"
    ]


def warn_of_size(name: str, plan: Plan, n_rows: int, n_features: int, config: TabularConfig) -> None:
    """Say so if a context is wider or longer than the checkpoint `name` takes; to be called two below `fit`."""
    findings = []
    if n_features > config.max_features:
        n_best = -(-config.max_features // 2)
        findings.append(
            f"X has {n_features} usable columns, checkpoint {name} takes {config.max_features} at a time: each of "
            f"the {plan.n_members} members sees a part, always the {n_best} that tell most about y by "
            f"themselves. Drop columns that cannot matter, or raise n_estimators so that more are seen."
        )
    if n_rows > plan.n_rows and not plan.left_out and not stacks(plan.n_made, config.max_features):
        findings.append(
            f"the context has {n_rows} rows, of which each of the {plan.n_members} members sees {plan.n_rows} "
            f"drawn in proportion over y. Raise max_rows to show all of them, at a cost that grows with its square, or "
            f"name companions, which learn from all rows."
        )
    elif n_rows <= plan.n_rows and n_rows > config.max_context:
        findings.append(
            f"the context has {n_rows} rows, checkpoint {name} was pretrained with at most "
            f"{config.max_context}: rows beyond may not help, and cost time. Compare with a random subset."
        )
    for said in findings:
        warnings.warn(said, UserWarning, stacklevel=4)


class PriorLimitsMixin(Host):
    """The check at the end of `fit`, for an estimator that keeps its labelled rows (see `icl.estimators.conformal`)."""

    def _warn_out_of_prior(self) -> None:
        """One `OutOfPriorWarning` for all that is found; to be called by `fit` itself."""
        given = self.checkpoint
        limits = limits_of(None if hasattr(given, "parameters") else resolve_checkpoint(given))
        kept = [self._encoder.columns_[source] for source in self._encoder.sources_]
        findings = many_levels(self._encoder.n_levels_, kept, limits)
        # Of a number as the network is shown it, without what strays.
        y = self._labeled[2] if self._far is None else nearest(self._labeled[2], self._far)
        findings += rare_classes(y, self.classes_, limits) if is_classifier(self) else heavy_target(y, limits)
        if findings:
            warnings.warn(
                f"this table is far from what checkpoint {self.checkpoint_name()} was pretrained on: "
                f"{'; '.join(findings)}. Compare with another model; check_baseline() does so with a linear one.",
                OutOfPriorWarning,
                stacklevel=3,
            )

"""What is said of times to an event: too few of them, censoring that decides, hazards that are not proportional."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.estimands.partial_likelihood import PartialLikelihood

if TYPE_CHECKING:
    import pandas as pd

FEW = 10
"""Events before a time, and rows that are still watched then, below which the share that survives is skewed. Kaplan and
Meier with Greenwood's error, nominal .95, 2,000 samples: .91 to .93 covered with 4 to 9 rows at risk, .94 to .95 with
more than 15. To end curves where few are left: Pocock, Clayton & Altman (2002), doi:10.1016/S0140-6736(02)08594-X."""
HEAVIEST = 5.0
"""What a row that stays counts for, one over the chance to be still uncensored. Measured as above: .92 to .94 covered
at weights of 4 to 5, .86 to .93 at 20, where half of the samples show nobody so late. That such weights, not the number
of rows, say what is known: Robins & Finkelstein (2000), doi:10.1111/j.0006-341X.2000.00779.x."""
EVENTS_PER_SLOPE = 10
"""Peduzzi, Concato, Feinstein & Holford (1995), doi:10.1016/0895-4356(95)00048-2. Measured with robust errors, nominal
.95, 2 to 10 covariates, 600 samples: .90 to .92 covered with 2 or 3 events for each, .93 to .95 with 8 to 15."""
LOPSIDED = 10.0
"""Factor between the information at both ends of an interval: about that of a group with two or three events. A Wald
interval takes the likelihood for a parabola, whose information is the same everywhere: Sprott (1973),
doi:10.1093/biomet/60.3.457; in Cox regression: Heinze & Schemper (2001), doi:10.1111/j.0006-341X.2001.00114.x."""
DOUBTFUL = 0.01
"""Error rate of each test of an assumption, all columns of an analysis together."""


def survival_findings(time: np.ndarray, seen: np.ndarray, at: float, event: str) -> Iterator[Diagnostic]:
    """Findings on the share that `event` has not met by a time, from times (n,) and whether the event ended them."""
    events, left = int((seen & (time <= at)).sum()), int((time >= at).sum())
    if events < FEW:
        yield Diagnostic(
            "few_events",
            f"{events} labeled rows had {event!r} by {at:g}; with fewer than {FEW} the share is as skewed as any with "
            "few events, and its symmetric interval too short. Label more rows, or ask for a later time.",
            "warning",
        )
    if left < FEW:
        yield Diagnostic(
            "few_at_risk",
            f"{left} labeled rows are still watched at {at:g}; with fewer than {FEW} each of them decides, and 95% "
            "intervals covered .91 to .93. Label more rows, or ask for an earlier time.",
            "warning",
        )
    weight = censoring_weight(time, seen, at)
    if weight > HEAVIEST:
        yield Diagnostic(
            "heavy_censoring",
            f"the chance to be uncensored until {at:g} is {1 / weight:.3f}, so that a row that is still watched then "
            f"counts for {weight:.1f}; above {HEAVIEST:g}, few rows decide. Ask for an earlier time.",
        )


def censoring_weight(time: np.ndarray, seen: np.ndarray, at: float) -> float:
    """One over the chance to be uncensored until just before a time (Kaplan and Meier, of censoring)."""
    lost, number = np.unique(time[~seen & (time < at)], return_counts=True)
    ordered = np.sort(time)
    # Who has the event at the moment when others are lost was watched until then.
    at_risk = len(time) - np.searchsorted(ordered, lost, side="left")
    at_risk = at_risk - np.array([(seen & (time == t)).sum() for t in lost], dtype=int)
    return float(1 / np.prod(1 - number / at_risk))


def censoring_findings(
    time: np.ndarray, seen: np.ndarray, labeled: pd.DataFrame, known: Collection[str]
) -> Iterator[Diagnostic]:
    """Columns of numbers, but the `known` ones, that go with being lost and with the event: censoring is not random."""
    if seen.all():
        return
    kept = [name for name in labeled if name not in known and labeled[name].dtype.kind in "fiub"]
    columns = {name: labeled[name].to_numpy(dtype=float) for name in kept}
    # Beyond the range of squares, with gaps, or the same everywhere, a column tells nothing here.
    columns = {name: x for name, x in columns.items() if np.abs(x).max() < 1e150 and np.ptp(x) > 0}
    if not columns:
        return
    X = np.column_stack([*columns.values()])
    p = np.maximum(log_rank(time, seen, X), log_rank(time, ~seen, X)) * len(columns)
    guilty = [repr(name) for name, value in zip(columns, p, strict=True) if value < DOUBTFUL]
    if guilty:
        yield Diagnostic(
            "dependent_censoring",
            f"{', '.join(guilty[:6])} went with being lost and with the event (both p < {DOUBTFUL:g}, score tests, "
            "corrected for the number of columns): who was lost was more, or less, at risk than who stayed, and the "
            "interval assumes that they were alike. Give these columns to Cox(...) as covariates, or estimate within "
            "groups of them.",
            "warning",
        )


def log_rank(time: np.ndarray, ended: np.ndarray, X: np.ndarray) -> np.ndarray:
    """(P,) p-values of columns X (n, P), each by itself, in the score test of a Cox regression: log-rank, for groups.

    Source: Cox (1972), doi:10.1111/j.2517-6161.1972.tb00899.x.
    """
    from scipy.special import chdtrc

    order = np.argsort(-time, kind="stable")
    t, d, Z = -time[order], ended[order], (X - X.mean(axis=0))[order] / X.std(axis=0)
    last = np.searchsorted(t, t, side="right")
    mean, square = (np.cumsum(values, axis=0)[last - 1] / last[:, None] for values in (Z, Z**2))
    score, information = d @ (Z - mean), d @ (square - mean**2)
    return chdtrc(1, score**2 / np.maximum(information, 1e-12))


def hazard_findings(fit: PartialLikelihood, names: list[str], event: str) -> Iterator[Diagnostic]:
    """Findings on a Cox regression whose P coefficients have `names`."""
    from scipy.special import chdtrc

    events, P = int(fit.seen.sum()), len(names)
    if events < EVENTS_PER_SLOPE * P:
        yield Diagnostic(
            "rare_event_slopes",
            f"{events} labeled rows had {event!r}, for {P} coefficient(s); below {EVENTS_PER_SLOPE} for each, "
            "intervals are too short (nominal .95 covered .90 to .92 with 2 or 3). Label more rows, or drop "
            "covariates.",
            "warning",
        )
    lopsided = {name: by for name, by in zip(names, fit.lopsided, strict=True) if by > LOPSIDED}
    if lopsided:
        yield Diagnostic(
            "near_separation",
            f"hardly an event tells how far {', '.join(map(repr, lopsided))} may go: the information on it differs "
            f"{max(lopsided.values()):.0f}-fold between the ends of its 95% interval, as with one or two events on one "
            "side. The interval should reach much farther to that side than to the other, and its p-value misses "
            "effects that are there; merge levels, or label more rows.",
            "warning",
        )
    together, each = fit.trend
    if chdtrc(P, together) < DOUBTFUL:
        worst = names[int(np.argmax(each))]
        yield Diagnostic(
            "hazards_not_proportional",
            f"the effect of {worst!r} changes with time (p = {chdtrc(P, together):.2g} of a score test of all "
            "covariates): a hazard ratio is then an average over the times that were watched, and would be another "
            "one had rows been lost earlier or later. Report it as that, or compare Survival(...) at times.",
        )

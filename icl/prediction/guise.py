"""How one member of an ensemble sees a table: which rows and columns, in which order, in which scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icl.prediction.hierarchy import class_questions, similar_order
from icl.prediction.relevance import relevance
from icl.tables.scaling import TRANSFORMS


@dataclass(frozen=True)
class Guise:
    """What a member shows of a table. Random choices only; small, so it is what a pickle keeps of a member."""

    transform: str
    rows: np.ndarray | None  # context rows shown, None for all
    columns: np.ndarray  # (f,) columns in the order shown
    codes: list[np.ndarray]  # per column shown: code in place of each code; empty for a number
    answers: np.ndarray  # (Q, C) as from `class_questions`; (1, 0) for regression
    stacked: bool  # whether the columns of `icl.prediction.companions` are shown too, after the others
    apart: bool  # whether these are columns of companions that have not seen `rows`, the same for all members
    n_components: int = 0  # most components of the numeric columns (`icl.prediction.components`) shown after these


@dataclass(frozen=True)
class Limits:
    """What one member may be shown: the limits of a checkpoint, and a bound on cost."""

    features: int
    classes: int
    rows: int


def stacks(n_made: int, n_features: int) -> bool:
    """Whether members that see `n_features` columns at most also see the `n_made` ones that companions make."""
    return 0 < 2 * n_made <= n_features


def draw_guises(
    n_members: int,
    seed: int | None,
    limits: Limits,
    n_levels_F: np.ndarray,
    context_NF: np.ndarray,
    y_N: np.ndarray,
    n_classes: int | None,
    n_made: int = 0,
    weight_N: np.ndarray | None = None,
    with_components: bool = False,
) -> list[Guise]:
    """Guises of a context of cells (N, F), with classes or standardised targets (N,), for `n_members` members.

    Where a limit binds, members share the table out: each class keeps its share of the rows (each tenth of a numeric
    target likewise), and each member gets the columns that tell most about the target by themselves, in part others.
    Rows with weights are drawn in proportion to them, as many as there are, by each member anew. Where companions see
    all other rows, the members share one sample, so that few rows are lost to the companions.

    Every member also sees the columns that companions make of the context, `n_made` of them for a question, if they
    take at most half of its room. That one of four did without, against what misleads all, cost more than it saved: on
    ten tables (base, seed 0, at most 1,000 rows) log loss .490 against .482 and CRPS .321 against .319 with ridge
    columns, more with others.

    With `with_components` every second member also sees components of its numbers, as many as there is room for: by
    default log loss .3321 -> .3311, AUC .8973 -> .8982, and of the network alone .3557 -> .3504, .8922 -> .8943 (110
    tables, base). That all members see them gained no more.
    """
    rng = np.random.default_rng(seed)
    n_features = len(n_levels_F)
    stacked = stacks(n_made, limits.features)
    apart = stacked and len(y_N) > limits.rows
    n_draws = 1 if apart else n_members
    rows: Sequence[np.ndarray | None]
    if weight_N is None:
        rows = _share_rows(n_draws, rng, limits.rows, y_N, n_classes)
    else:
        rows = _draw_rows(n_draws, rng, limits.rows, y_N, n_classes, weight_N)
    columns = None
    room = limits.features - stacked * n_made
    if n_features > room:
        score_F = relevance(context_NF, n_levels_F > 0, y_N, n_classes)
        columns = _share_columns(n_members, rng, room, score_F)
    guises = []
    for i in range(n_members):
        first = i == 0
        codes = [np.arange(n) if first else rng.permutation(n) for n in n_levels_F]
        shown = np.arange(n_features) if columns is None else columns[i]
        shown = shown if first else rng.permutation(shown)
        if n_classes is not None and n_classes > limits.classes:
            order = similar_order(context_NF[:, n_levels_F == 0], y_N, n_classes, rng)
        else:
            order = np.arange(n_classes or 0) if first else rng.permutation(n_classes or 0)
        answers = class_questions(order, limits.classes)
        guises.append(
            Guise(
                transform=TRANSFORMS[i % len(TRANSFORMS)],
                rows=rows[0 if apart else i],
                columns=shown,
                codes=[codes[j] for j in shown],
                answers=answers,
                stacked=stacked,
                apart=apart,
                n_components=room - len(shown) if with_components and i % 2 else 0,
            )
        )
    return guises


def _share_rows(n_members: int, rng, limit: int, y_N: np.ndarray, n_classes: int | None) -> list[np.ndarray | None]:
    """Sorted row numbers for each member, `limit` or (if there are that many classes) a few more; None for all rows."""
    n = len(y_N)
    if n <= limit:
        return [None] * n_members
    if n_classes is None:
        strata_N = (np.argsort(np.argsort(y_N, kind="stable"), kind="stable") * 10) // n
    else:
        strata_N = y_N
    shares: list[list[np.ndarray]] = [[] for _ in range(n_members)]
    for stratum in np.unique(strata_N):
        rows = rng.permutation(np.flatnonzero(strata_N == stratum))
        n_shown = max(1, int(len(rows) * limit / n))
        for i, share in enumerate(shares):
            # Round and round: members overlap only once every row has been shown.
            share.append(np.take(rows, np.arange(i * n_shown, (i + 1) * n_shown), mode="wrap"))
    return [np.sort(np.concatenate(share)) for share in shares]


def _draw_rows(
    n_members: int, rng, limit: int, y_N: np.ndarray, n_classes: int | None, weight_N: np.ndarray
) -> list[np.ndarray]:
    """Sorted row numbers for each member, with repeats: systematic draws along the target, members out of step."""
    n_shown = min(len(y_N), limit)
    order_N = np.lexsort((rng.random(len(y_N)), y_N))
    ends_N = np.cumsum(weight_N[order_N])
    ends_N *= n_shown / ends_N[-1]
    steps = (np.arange(n_members) + rng.random()) / n_members
    drawn = []
    for step in rng.permutation(steps):
        places = np.searchsorted(ends_N, step + np.arange(n_shown), side="right").clip(max=len(y_N) - 1)
        rows = order_N[places]
        # Every class keeps a row, and a numeric target two values: the heaviest row of what is not there.
        wanted = range(n_classes) if n_classes is not None else [None] * (len(np.unique(y_N[rows])) < 2)
        for label in wanted:
            lacking = y_N == label if label is not None else y_N != y_N[rows[0]]
            if label is None or not lacking[rows].any():
                rows = np.append(rows, np.flatnonzero(lacking)[weight_N[lacking].argmax()])
        drawn.append(np.sort(rows))
    return drawn


def _share_columns(n_members: int, rng, limit: int, score_F: np.ndarray) -> list[np.ndarray]:
    """Sorted column numbers for each member: for the first the best, for others the best half and some of the rest."""
    ranked = np.argsort(-score_F, kind="stable")
    n_fixed = -(-limit // 2)
    # Those that the first member shows come last.
    rest = np.concatenate([rng.permutation(ranked[limit:]), rng.permutation(ranked[n_fixed:limit])])
    n_others = limit - n_fixed
    shares = [ranked[:limit]]
    for i in range(n_members - 1):
        others = np.take(rest, np.arange(i * n_others, (i + 1) * n_others), mode="wrap")
        shares.append(np.concatenate([ranked[:n_fixed], others]))
    return [np.sort(share) for share in shares]

"""The columns that the companions of one table show to the network."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy.special import expit
from sklearn.base import BaseEstimator

from icl.prediction.companions import crossfit, kernel, trees
from icl.prediction.companions.points import PointVoice
from icl.prediction.companions.protocol import LEAST_SHARE, Companion, Kind, Labelled, narrowed, shares_of
from icl.prediction.companions.ridge import RidgeColumns
from icl.prediction.companions.surprise import Surprise
from icl.prediction.companions.trees import Trees
from icl.prediction.companions.voice import ClassVoice, NumberVoice, Voice

FEWEST_ROWS = 30
# Where none are named. In small contexts the columns of kernel and trees cost as much as they tell: on 9 tables with
# classes (base, 4 members) the log loss at 60 rows is .633 with and .620 without them, at 200 rows about the same; at
# 1,000 rows .343 and .365. Trees with a voice of their own serve from 80 rows on: ten tables of 100 to 196 rows, log
# loss .389 -> .380, AUC .905 -> .906; eight with numbers, 83 to 237 rows, mean R2 .571 -> .602, CRPS .290 -> .280.
SOME_ROWS = 80
MANY_ROWS = 250
# On the half of the tables that choices are made on: of 32 with classes and 600 rows or more boosting lowered log loss
# by .0058 (.0017); with fewer rows by nothing beyond error. Of numbers, with the kernel's own voice, it raised mean R2
# by .0045 (.0017) (benchmarks/records/small-boosted-trees).
_BOOSTED_ROWS = 600
_OF_FEW, _OF_SOME = ("ridge",), ("ridge", "trees")
_OF_MANY, _OF_MOST = ("ridge", "kernel", "trees"), ("boosting", "trees")
LONG_ROWS, SHOWN_ROWS = 5_000, 2_500
"""Of a context of more than so many rows, so many are shown to the network, and companions learn from the others."""
# Share of the out-of-context squared error of the mean that a companion must remove.
_LEAST_GAIN = 0.02

KINDS = {
    "ridge": Kind(
        lambda labelled, seed, in_context=True: RidgeColumns(
            labelled.cells_NF,
            labelled.n_levels_F,
            labelled.y_N,
            labelled.n_classes,
            labelled.group_N,
            labelled.weight_N,
        ),
        lambda n_rows, n_features, n_classes, in_context=True: 0.05 + 6.5e-5 * n_rows,
        5e-6,
    ),
    "kernel": Kind(kernel.Kernel, kernel.seconds, 8e-6),
    "trees": Kind(trees.Trees, trees.seconds, 1.6e-5),
    "boosting": Kind(crossfit.boosting, crossfit.boosting_seconds, 1e-5),
}
"""Companions by name."""


def suited(n_rows: int, n_classes: int | None) -> tuple[str, ...]:
    """The companions of a context of so many rows and classes (None of a number), where none are named."""
    if n_rows < MANY_ROWS:
        return _OF_FEW if n_rows < SOME_ROWS else _OF_SOME
    if n_rows > LONG_ROWS:
        return _OF_MOST
    return (*_OF_MANY, "boosting") if n_classes is None or n_rows >= _BOOSTED_ROWS else _OF_MANY


def speaks(companion: str | BaseEstimator, n_classes: int | None) -> bool:
    """Whether a companion has a voice of its own.

    Least squares are no shares of classes.
    """
    return n_classes is None or companion not in ("ridge", "kernel")


class Columns:
    """Answers of all companions side by side, of those that explain something.

    Args:
        labelled: the context.
        companions: names of `KINDS`, or scikit-learn estimators.
        seed: of what companions draw.
        apart: rows that companions shall not see at all, nor copies of them. If given, these alone get columns: in a
            long context, answers for some thousand rows by one fit on all others are cheaper than fits by folds, and
            better, for queries are answered by the very same fit. None: all rows get columns.
        n_learnt: how many of the other rows companions see at most, drawn at random; None: all.

    Attributes:
        context_NS: out-of-context columns of the labelled rows, float32; NaN where rows get none.
        shown: the companions that made them.
    """

    def __init__(
        self,
        labelled: Labelled,
        companions: Sequence[str | BaseEstimator],
        seed: int = 0,
        apart: np.ndarray | None = None,
        n_learnt: int | None = None,
    ):
        self.surprise = Surprise(labelled.cells_NF, labelled.n_levels_F)
        self._fitted: list[Companion] = []
        self._widths: list[int] = []
        self._speaking: list[tuple[str, Companion, np.ndarray]] = []
        self._n_classes = labelled.n_classes
        self.shown: list[str | BaseEstimator] = []
        made = []
        n_rows = len(labelled.y_N)
        seen, told, rows = labelled, labelled, np.arange(n_rows)
        if apart is not None:
            rows = np.unique(apart)
            told = labelled.take(rows)
            others = np.flatnonzero(~np.isin(labelled.groups, labelled.groups[rows]))
            if n_learnt is not None and n_learnt < len(others):
                others = np.sort(np.random.default_rng(seed).permutation(others)[:n_learnt])
            seen = labelled.take(others)
        if len(seen.y_N) >= FEWEST_ROWS:
            # Side by side: what one core decomposes, another grows.
            fits = [functools.partial(_fit, companion, seen, seed, apart is None) for companion in companions]
            n_workers = min(len(fits), torch.get_num_threads())
            with ThreadPoolExecutor(n_workers) if n_workers > 1 else contextlib.nullcontext() as pool:
                fitted = [fit() for fit in fits] if pool is None else list(pool.map(lambda fit: fit(), fits))
            for companion, one in zip(companions, fitted):
                told_NT = one.context_NS if apart is None else one(told.cells_NF)
                if speaks(companion, labelled.n_classes) and told_NT.shape[1]:
                    # Shown or not: of a rare class squared errors say little. The blend weighs what they say.
                    self._speaking.append((str(companion), one, told_NT))
                if told_NT.shape[1] and (companion == "ridge" or explains(told_NT, told)):
                    self.shown.append(companion)
                    self._fitted.append(one)
                    self._widths.append(told_NT.shape[1])
                    made.append(told_NT)
        self._told, self._told_rows, self._apart = told, rows, apart is not None
        self.context_NS = np.full((n_rows, sum(self._widths)), np.nan, "f4")
        self.context_NS[rows] = np.concatenate([*made, np.empty((len(rows), 0), "f4")], 1)

    def __call__(self, rows_MF: np.ndarray) -> np.ndarray:
        """(M, S) float32 columns of rows that are not in the context."""
        made = [self._answers(companion, one, rows_MF) for companion, one in zip(self.shown, self._fitted)]
        return np.concatenate([*made, np.empty((len(rows_MF), 0), "f4")], 1)

    def _answers(self, companion: str | BaseEstimator, one: Companion, rows_MF: np.ndarray) -> np.ndarray:
        """(M, T) float32 answers, with gaps that are a surprise filled; of classes shares are averaged."""
        if self._n_classes is None or companion == "ridge":
            return self.surprise.answered(rows_MF, one)
        told = self._told
        return self.surprise.answered(rows_MF, one, lambda shown_DMT: told.shown(told.shares(shown_DMT).mean(0)))

    def alone(self, rows_MF: np.ndarray) -> dict[str, np.ndarray]:
        """What companions say by themselves of rows that are not in the context, by name.

        (M,) standardised numbers, or (M, C) probabilities. Without ridge regressions, which are several, and as
        indicators of classes no probabilities.
        """
        found = {}
        for companion, one in zip(self.shown, self._fitted):
            if companion == "ridge":
                continue
            answers_MT = self._answers(companion, one, rows_MF)
            if self._n_classes is not None:
                answers_MT = shares_of(answers_MT)
                if self._n_classes == 2:
                    answers_MT = np.concatenate([1 - answers_MT, answers_MT], 1)
                answers_MT = np.maximum(answers_MT, LEAST_SHARE / self._n_classes)
                answers_MT /= answers_MT.sum(1, keepdims=True)
            name = companion if isinstance(companion, str) else type(companion).__name__
            found[name] = answers_MT[:, 0] if self._n_classes is None else answers_MT
        return found

    def asked(self, made_MS: np.ndarray, answers_C: np.ndarray) -> np.ndarray:
        """The columns `made_MS`, of any rows, as they bear on a question about some of the classes.

        `answers_C`: which answer each class stands for, -1 for those that are not asked about.
        """
        ends = np.cumsum(self._widths)
        parts = [
            # Regressions of indicators add up; log-odds do not.
            _sums(made_MT, answers_C) if companion == "ridge" else narrowed(made_MT, answers_C)
            for companion, made_MT in zip(self.shown, np.split(made_MS, ends[:-1], axis=1))
        ]
        return np.concatenate([*parts, np.empty((len(made_MS), 0), "f4")], 1)

    def voices(self, n_bins: int, atoms: np.ndarray) -> list[Voice]:
        """What companions say by themselves.

        `atoms` are those of a numeric target, standardised.
        """
        told, n_rows = self._told, len(self.context_NS)
        found: list[Voice] = []
        for name, one, told_NT in self._speaking:
            if told.n_classes is not None:
                found.append(ClassVoice(name, one, told, told_NT))
            elif isinstance(one, Trees):
                answers_NB = one.each(told.cells_NF) if self._apart else one.answers_NB
                found.append(NumberVoice(one, told, answers_NB, n_bins, atoms))
            else:
                # Of several ridge regressions the best.
                best = int(np.argmin(told.weights @ np.square(told.y_N[:, None] - told_NT)))
                found.append(PointVoice(name, one, told, told_NT[:, best], n_bins, atoms, best))
        for voice in found:
            said = np.full((n_rows, voice.context.shape[1]), np.nan)
            said[self._told_rows] = voice.context
            voice.context = said
        return found


def most_columns(companions: Sequence[str | BaseEstimator], n_classes: int | None) -> int:
    """The largest number of columns that these companions make."""
    width = 1 if n_classes in (None, 2) else n_classes
    return sum(RidgeColumns.most(n_classes) if companion == "ridge" else width for companion in companions)


def explains(context_NT: np.ndarray, labelled: Labelled) -> bool:
    """Whether out-of-context answers are better than the mean of the other rows, in squared error.

    By 2 % of that error at least, and by more than a standard error: else the column is noise to be fitted.
    """
    Y_NT, weight_N = labelled.indicators(), labelled.weights
    n = len(Y_NT)
    # Log-odds are shares again by the logistic function, up to what keeps them finite.
    answers_NT = context_NT if labelled.n_classes is None else expit(context_NT)
    without_N = weight_N * np.square((Y_NT - np.average(Y_NT, 0, weight_N)) * n / (n - 1)).sum(1)
    removed_N = without_N - weight_N * np.square(Y_NT - answers_NT).sum(1)
    gain = removed_N.sum() / without_N.sum()
    std_error = (removed_N - gain * without_N).std() / np.sqrt(n) / without_N.mean()
    return bool(gain > max(_LEAST_GAIN, std_error))


def _sums(made_MC: np.ndarray, answers_C: np.ndarray) -> np.ndarray:
    n_answers = int(answers_C.max()) + 1
    return np.stack([made_MC[:, answers_C == a].sum(1) for a in range(1 if n_answers == 2 else 0, n_answers)], 1)


def _fit(companion: str | BaseEstimator, labelled: Labelled, seed: int, in_context: bool) -> Companion:
    if isinstance(companion, str):
        return KINDS[companion].fit(labelled, seed, in_context)
    return crossfit.CrossFitted(companion, labelled, seed, in_context)

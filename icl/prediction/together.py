"""Several fitted tables answered in shared forward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from icl.network.distribution import CategoricalPredictive, HistogramPredictive
from icl.network.reader import Model
from icl.prediction.companions.voice import Voice
from icl.prediction.doubt import Doubt
from icl.prediction.forward import Context, answer
from icl.prediction.member import Member, columns_made
from icl.tables.encoder import TableEncoder

# Query rows that are answered before their distributions are reduced to what was asked for.
BLOCK_ROWS = 8192
_FEWEST_ROWS = 8


@dataclass(frozen=True)
class Fitted:
    """What answers for one table: its members, the network, and how their answers become one distribution."""

    members: list[Member]
    voices: Sequence[Voice]
    """What companions say by themselves, after the members."""
    model: Model
    average: Callable[[Sequence[torch.Tensor], float], CategoricalPredictive | HistogramPredictive]
    """The predictive distribution, from the (M, C) or (M, K) log-probabilities of each member and voice and a
    temperature."""
    temperature: float
    memory_gb: float
    fit_mode: str
    encoder: TableEncoder
    """How rows of its table become what `log_probs_of` and `distributions` take."""
    doubt: Doubt | None = None
    """Where companions have voices: what the gaps of a row leave open."""


def log_probs_of(fitted: list[Fitted], rows: list[np.ndarray]) -> Iterator[list[torch.Tensor]]:
    """For each table, its members' log-probabilities of its own rows, and then its voices'.

    Members of all tables share batches, so folds cost as many forward passes as their sizes differ.
    """
    models, contexts, views = [], [], []
    for one, block in zip(fitted, rows):
        made = columns_made(one.members, block)
        for member in one.members:
            models += [one.model] * len(member.contexts)
            contexts += member.contexts
            views += [padded(view) for view in member.views(block, made)]
    answers = iter(_answer_each(models, contexts, views, fitted[0].memory_gb, fitted[0].fit_mode))
    for one, block in zip(fitted, rows):
        asked = [m.log_probs([next(answers)[: len(block)] for _ in m.contexts]) for m in one.members]
        if one.doubt is None:
            yield [*asked, *(voice(block) for voice in one.voices)]
        else:
            yield one.doubt.heard(asked, one.voices, block)


def distributions(fitted: list[Fitted], rows: list[np.ndarray], block_rows: int = BLOCK_ROWS) -> Iterator[list]:
    """The predictive distribution of each table for its own rows, a block of rows at a time."""
    for start in range(0, max(*map(len, rows), 1), block_rows):
        blocks = [r[start : start + block_rows] for r in rows]
        yield [f.average(log_probs, f.temperature) for f, log_probs in zip(fitted, log_probs_of(fitted, blocks))]


def _answer_each(
    models: list[Model], contexts: list[Context], views: list[np.ndarray], memory_gb: float, fit_mode: str
) -> list[torch.Tensor]:
    """Scores of each context's rows from its own model; contexts of one model share forward passes."""
    answers: list = [None] * len(contexts)
    for model in {id(m): m for m in models}.values():
        own = [i for i, m in enumerate(models) if m is model]
        asked, rows = [contexts[i] for i in own], [views[i] for i in own]
        for i, scores in zip(own, answer(model, asked, rows, memory_gb, fit_mode)):
            answers[i] = scores
    return answers


def padded(rows_MF: np.ndarray) -> np.ndarray:
    """The rows, and the first one again until there are eight, unless there are none.

    With fewer, matrix libraries take other kernels, whose rounding differs: a row alone and the same row among others
    would differ by 1e-6 in the scores.
    """
    missing = _FEWEST_ROWS - len(rows_MF) if len(rows_MF) else 0
    return np.concatenate([rows_MF, np.repeat(rows_MF[:1], missing, axis=0)]) if missing > 0 else rows_MF

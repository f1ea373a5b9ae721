"""Which labelled rows the network looked at for an answer.

Attention says what was read, not what would have changed the answer: take it as a list of similar cases.

Dimension key: N context rows, M query rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from icl.network.model import TabularTransformer
from icl.prediction.embedding import as_batch, read_context
from icl.prediction.forward import Context
from icl.prediction.member import Member, columns_made

_ROWS = 256  # query rows at a time


def attended(model: TabularTransformer, members: Sequence[Member], y_N: np.ndarray, rows_MF: np.ndarray) -> np.ndarray:
    """(M, N) share of each labelled row in what the network read for a query row; rows sum to 1.

    The mean over members, and in each over blocks, heads and questions about the class.

    Args:
        y_N: codes or standardised targets of the context.
        rows_MF: encoded query rows.
    """
    total_MN = np.zeros((len(rows_MF), len(y_N)))
    made_MS = columns_made(members, rows_MF)
    for member in members:
        views = member.views(rows_MF, made_MS)
        shown = np.arange(len(y_N)) if member.guise.rows is None else member.guise.rows
        for question, context in enumerate(member.contexts):
            rows = shown
            if member.guise.answers.size:
                rows = shown[member.guise.answers[question][y_N[shown]] >= 0]
            shares_MN = _of_context(model, context, views[question]) / len(member.contexts)
            np.add.at(total_MN.T, rows, shares_MN.T)  # a row may be shown several times
    return total_MN / len(members)


@torch.no_grad()
def _of_context(model: TabularTransformer, context: Context, view_MF: np.ndarray) -> np.ndarray:
    cache = read_context(model, context)
    parts = [
        model.attention(as_batch(model, view_MF[start : start + _ROWS]), cache)[0].double().cpu().numpy()
        for start in range(0, len(view_MF), _ROWS)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, len(context.y_N)))

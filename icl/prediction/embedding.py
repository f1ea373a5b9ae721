"""Rows as vectors: what the network's heads read of them.

Dimension key: N context rows, M query rows, E embedding.
"""

from __future__ import annotations

import numpy as np
import torch

from icl.network.model import TabularTransformer
from icl.prediction.forward import Context
from icl.prediction.together import padded

_ROWS = 256  # query rows at a time


def as_batch(model: TabularTransformer, values: np.ndarray) -> torch.Tensor:
    """A batch of one table, where the model is; numbers in its type."""
    batch = torch.from_numpy(np.ascontiguousarray(values))[None].to(model.device)
    return batch.to(model.dtype) if batch.is_floating_point() else batch


def read_context(model: TabularTransformer, context: Context):
    """What the model keeps of one context; queries are put to it."""
    X, y, flags = (as_batch(model, part) for part in (context.X_NF, context.y_N, context.is_categorical_F))
    return model.read_context(X, y, flags, context.n_classes)


@torch.no_grad()
def embed(model: TabularTransformer, context: Context, rows_MF: np.ndarray) -> np.ndarray:
    """(M, 2E) float32 vectors of query rows in the light of a context."""

    cache = read_context(model, context)
    parts = []
    for start in range(0, len(rows_MF), _ROWS):
        block = rows_MF[start : start + _ROWS]
        found = model.embed(as_batch(model, padded(block)), cache)[0]
        parts.append(found[: len(block)].float().cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, 2 * model.config.d_embed), dtype=np.float32)

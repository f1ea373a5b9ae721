"""The forward pass: contexts and the rows to answer from them, split and batched to respect a memory limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

# Float32 copies of a token's embedding alive at once at the peak of a forward pass, MLP included.
_LIVE_COPIES = 16
# Query rows of the smallest forward pass.
_FEWEST_ROWS = 8


@dataclass(frozen=True, eq=False)
class Context:
    """Labelled rows as the model shall see them. Compares by identity, so that work done on one may be kept for it.

    Args:
        X_NF: float32 cells; NaN is missing, categories are integer codes.
        y_N: int64 classes, or float64 standardised targets.
        is_categorical_F: bool.
        n_classes: None for regression.
    """

    X_NF: np.ndarray
    y_N: np.ndarray
    is_categorical_F: np.ndarray
    n_classes: int | None


def answer(
    model, contexts: Sequence[Context], rows: Sequence[np.ndarray], memory_gb: float = 2.0
) -> list[torch.Tensor]:
    """Scores of the query rows (M, F) of each context: (M, max_classes) or (M, K), on the CPU in float64.

    Contexts of one shape share forward passes; M may be 0 and may differ between contexts.
    """
    # With fewer rows, matrix libraries take other kernels, whose rounding differs: a row alone and the same row among
    # others would differ by 1e-6. Padding to eight made them equal to the last bit.
    asked = [_pad(c, r) for c, r in zip(contexts, rows)]
    answers: list = [None] * len(contexts)
    alike = defaultdict(list)
    for i, context in enumerate(contexts):
        alike[(*context.X_NF.shape, len(asked[i]), context.n_classes is None)].append(i)
    with torch.inference_mode():
        for (n_context, n_features, n_query, _), indices in alike.items():
            n_together, n_rows = _split(model.config, n_context, n_features, n_query, memory_gb)
            for start in range(0, len(indices), n_together):
                batch = indices[start : start + n_together]
                parts = [
                    _forward(model, [contexts[i] for i in batch], [asked[i][row : row + n_rows] for i in batch])
                    for row in range(0, n_query, n_rows)
                ]
                for b, i in enumerate(batch):
                    answers[i] = torch.cat([part[b] for part in parts])[: len(rows[i])]
    return answers


def _pad(context: Context, rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, np.repeat(context.X_NF[:1], max(_FEWEST_ROWS - len(rows), 0), axis=0)])


def _split(config, n_context: int, n_features: int, n_query: int, memory_gb: float) -> tuple[int, int]:
    """How many contexts, and how many query rows of each, go through the model at once."""
    n_tokens = -(-n_features // config.group_size) + 1
    n_rows = int(memory_gb * 1e9 / (4 * config.d_embed * _LIVE_COPIES)) // n_tokens
    if n_context + n_query <= n_rows:
        return n_rows // (n_context + n_query), n_query
    # The context cannot be split; slices much shorter than it would spend their time on reading it again.
    return 1, max(n_rows - n_context, n_context // 4, 1)


def _forward(model, contexts: list[Context], rows: list[np.ndarray]) -> list[torch.Tensor]:
    """(m, C) or (m, K) scores of the query rows of each context; all of one shape."""
    place = {"device": model.device, "dtype": model.dtype}
    X_BRF = np.stack([np.concatenate([c.X_NF, r]) for c, r in zip(contexts, rows)])
    y_BN = torch.from_numpy(np.stack([c.y_N for c in contexts]))
    flags_BF = torch.from_numpy(np.stack([c.is_categorical_F for c in contexts])).to(model.device)
    if contexts[0].n_classes is None:
        n_classes_B, y_BN = None, y_BN.to(**place)
    else:
        n_classes_B, y_BN = torch.tensor([c.n_classes for c in contexts]), y_BN.to(model.device)
    scores_BMK = model(torch.from_numpy(X_BRF).to(**place), y_BN, flags_BF, n_classes_B)
    return list(scores_BMK.double().cpu())

"""Scores of predictions: what the network says -> a distribution, its losses; log loss, AUC, R2 and their like.

Dimension key: B tasks, M query rows, N context rows, C classes, K bins.
"""

from __future__ import annotations

import math
from typing import overload

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from icl.network.cells import target_scale
from icl.network.distribution import CategoricalPredictive, HistogramPredictive, histogram_edges

# A class that came true and had been given less costs this: one row must not decide a comparison.
_LEAST_PROBABILITY = 1e-6


@overload
def predictive(scores: Tensor, y_context_BN: Tensor, n_classes: None) -> HistogramPredictive: ...
@overload
def predictive(scores: Tensor, y_context_BN: Tensor, n_classes: int | Tensor) -> CategoricalPredictive: ...
def predictive(
    scores: Tensor, y_context_BN: Tensor, n_classes: int | Tensor | None
) -> CategoricalPredictive | HistogramPredictive:
    """The distribution that the network's scores (B, M, C) or (B, M, K) stand for, in the units of the context's y."""
    if n_classes is not None:
        return CategoricalPredictive(scores)
    s = target_scale(y_context_BN)
    return HistogramPredictive(
        scores, histogram_edges(scores.shape[-1], device=scores.device).to(scores), s.loc, s.scale
    )


def query_losses(
    scores: Tensor,
    y_context_BN: Tensor,
    y_query_BM: Tensor,
    n_classes: int | Tensor | None,
    reduction: str = "none",
) -> Tensor:
    """Negative log mass (nats) of the true class, or of the bin that holds the true target: (B, M), or their "mean"."""
    if n_classes is None:
        y_query_BM = predictive(scores, y_context_BN, None).bin_of(y_query_BM)
    losses = nnf.cross_entropy(scores.flatten(0, 1), y_query_BM.flatten(), reduction=reduction)
    return losses.view(y_query_BM.shape) if reduction == "none" else losses


def log_losses(probs: np.ndarray, codes: np.ndarray, least: float = _LEAST_PROBABILITY) -> np.ndarray:
    """(M,) negative log-probabilities of the true classes; a probability below `least` counts as that."""
    return -np.log(np.clip(probs[np.arange(len(codes)), codes], least, None))


def auc(probs: np.ndarray, codes: np.ndarray) -> float:
    """Area under the ROC curve: of the second of two classes, else of each against the rest, averaged.

    Classes that no row, or every row, belongs to are left out; NaN if none is left.
    """
    from sklearn.metrics import roc_auc_score

    n_classes = probs.shape[1]
    classes = [c for c in ([1] if n_classes == 2 else range(n_classes)) if 0 < (codes == c).sum() < len(codes)]
    if not classes:
        return math.nan
    return float(np.mean([roc_auc_score(codes == c, probs[:, c]) for c in classes]))


def class_scores(probs: np.ndarray, codes: np.ndarray, least: float = _LEAST_PROBABILITY) -> dict[str, float]:
    """auc, accuracy and log_loss (nats) of (M, C) probabilities for true classes (M,)."""
    return {
        "auc": auc(probs, codes),
        "accuracy": float((probs.argmax(axis=1) == codes).mean()),
        "log_loss": float(log_losses(probs, codes, least).mean()),
    }


def number_scores(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """r2 (NaN for fewer than two different truths), rmse and mae, in the units of the target."""
    error = predicted - truth
    varies = len(truth) > 1 and np.ptp(truth) > 0
    return {
        "r2": float(1 - np.sum(error**2) / np.sum((truth - truth.mean()) ** 2)) if varies else math.nan,
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
    }


def density_losses(distribution: HistogramPredictive, truth: np.ndarray | Tensor, unit: float = 1.0) -> np.ndarray:
    """(M,) negative log densities of numbers, measured in `unit`: the spread of a target makes tables comparable."""
    values = torch.as_tensor(truth, dtype=distribution.edges.dtype, device=distribution.edges.device)
    return -(distribution.log_prob(values).cpu().numpy() + math.log(unit))

"""Scores of predictions: log loss, AUC, R2 and their like."""

from __future__ import annotations

import numpy as np

_LEAST_PROBABILITY = 1e-6


def log_losses(probs: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return -np.log(np.clip(probs[np.arange(len(codes)), codes], _LEAST_PROBABILITY, None))

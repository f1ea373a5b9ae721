"""Complete rows, corrected by what rows with gaps say: no model of the missing cells is trusted.

theta = beta + sum_k W_k (mean of m_k over the rows of pattern k - mean of m_k over complete rows), with beta from
complete rows and m_k what the columns known in pattern k say of a row's influence. If gaps come at random, both means
have the same expectation whatever m_k is, so it may be wrong in any way; the weights minimise the variance.

Dimension key: n complete rows, N_k rows of pattern k, K patterns, P parameters.

Source:
    The idea of pattern-stratified prediction-powered inference: arXiv:2508.15162; its optimal augmentation, the
    expected influence given what is known: Robins, Rotnitzky & Zhao (1994), doi:10.1080/01621459.1994.10476818.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Patterned:
    """Attributes:
    estimate, covariance, df: (P,), (P, P), (P,).
    weights: (K, P) how much each pattern counts in each term.
    """

    estimate: np.ndarray
    covariance: np.ndarray
    df: np.ndarray
    weights: np.ndarray


def correct_by_patterns(
    beta: np.ndarray,
    covariance: np.ndarray,
    df: np.ndarray,
    influence: np.ndarray,
    here: Sequence[np.ndarray],
    there: Sequence[np.ndarray],
) -> Patterned:
    """The corrected answer.

    Args:
        beta, covariance, df: the classical answer from complete rows.
        influence: (n, P) what each row contributes to beta; they add up to beta less the truth.
        here: K times (n, P), m_k of complete rows, out of fold, on the scale of `influence`.
        there: K times (N_k, P), m_k of the rows of pattern k.
    """
    n, P = influence.shape
    K = len(here)
    if not K:
        return Patterned(beta, covariance, df, np.zeros((0, P)))
    # Scaled so that without patterns the classical variance, with its small-sample correction, comes out.
    raw = (influence**2).sum(axis=0)
    psi = n * influence * np.sqrt(np.divide(np.diag(covariance), raw, out=np.ones(P), where=raw > 0))
    m_here = [n * (m - m.mean(axis=0)) for m in here]
    m_there = [n * (m - m.mean(axis=0)) for m in there]
    gap = np.stack([n * (t.mean(axis=0) - h.mean(axis=0)) for h, t in zip(here, there, strict=True)])
    weights = np.zeros((K, P))
    for j in range(P):
        M = np.stack([m[:, j] for m in m_here])
        A = M @ M.T / n**2 + np.diag([t[:, j].var() / len(t) for t in m_there])
        b = M @ psi[:, j] / n**2
        # Rank may be lost where a pattern knows nothing of a term.
        weights[:, j] = np.linalg.lstsq(A, b, rcond=1e-10)[0]
    rest = psi - sum(w * m for w, m in zip(weights, m_here, strict=True))
    spread = rest.T @ rest / n**2
    for w, t in zip(weights, m_there, strict=True):
        spread += (w * t).T @ (w * t) / len(t) ** 2
    left = np.maximum(df - K, 1.0)
    lost = np.sqrt(np.where(np.isfinite(df), df / left, 1.0))  # K weights were tuned on these rows
    return Patterned(beta + (weights * gap).sum(axis=0), spread * np.outer(lost, lost), left, weights)

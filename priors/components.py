"""Principal components of the numbers of many tasks at once, as every second member of an ensemble shows them.

Batched counterpart of `icl.prediction.components`; tests/priors/test_component_columns.py holds the two together.

Dimension key: B tasks, R rows = N context + M query, F columns of the table, K components.
"""

from __future__ import annotations

import torch
from torch import Tensor

from priors.task import TaskBatch

# As in prediction: where cells and components stop, what is rounding beside the first component, rounds in which gaps
# are filled and the covariance learnt again, variance added where they are; then what settles ties, and decimals kept.
_FARTHEST, _LEAST, _ROUNDS, _RIDGE = 6.0, 1e-3, 3, 1e-4
_VARIANCE_TIE, _LOADING_TIE, _TIE_POWER, _DECIMALS = 1e-5, 1e-3, 1.37, 6


def components_of(batch: TaskBatch, most: int) -> Tensor:
    """(B, R, K) float64: at most `most` components of each task, of the largest variance; 0 where a task has fewer.

    Learnt from the context, each of one standard deviation there; of tasks with fewer than two numeric columns none.
    """
    is_number_BF = ~batch.is_categorical
    Z_BRF = _standardised(batch, is_number_BF)
    gap_BRF = Z_BRF.isnan()
    some_gaps = bool(gap_BRF.any())
    B, _, F = Z_BRF.shape
    eye_FF = torch.eye(F, dtype=Z_BRF.dtype, device=Z_BRF.device)
    centre_B1F, covariance_BFF = Z_BRF.new_zeros(B, 1, F), eye_FF.expand(B, F, F)
    for _ in range(_ROUNDS if some_gaps else 1):
        filled_BRF = _filled(Z_BRF, centre_B1F, covariance_BFF + _RIDGE * eye_FF) if some_gaps else Z_BRF
        context_BNF = filled_BRF[:, : batch.n_context]
        centre_B1F = context_BNF.mean(1, keepdim=True)
        centred_BNF = context_BNF - centre_B1F
        covariance_BFF = centred_BNF.mT @ centred_BNF / batch.n_context
    if some_gaps:
        # Prediction fills rows anew with what it has learnt last, but turns by what it filled before.
        filled_BRF = _filled(Z_BRF, centre_B1F, covariance_BFF + _RIDGE * eye_FF)
    order_BF = is_number_BF.cumsum(1).to(Z_BRF.dtype) - 1  # among the numbers
    before_BF = 1 - _VARIANCE_TIE * order_BF.clamp_min(0) ** _TIE_POWER
    variance_BF, axes_BFK = torch.linalg.eigh(covariance_BFF * before_BF[:, None] * before_BF[..., None])
    variance_BK, axes_BFK = variance_BF.flip(1)[:, :most].clamp_min(0.0), axes_BFK.flip(2)[..., :most]
    loudest_B1K = (axes_BFK.abs() * (1 - _LOADING_TIE * order_BF)[..., None]).argmax(1, keepdim=True)
    axes_BFK = axes_BFK * axes_BFK.gather(1, loudest_B1K).sign() * before_BF[..., None]
    kept_BK = variance_BK > _LEAST**2 * variance_BK[:, :1]
    kept_BK = kept_BK & (is_number_BF.sum(1) > 1)[:, None] & (variance_BK > 0)
    size_BK = torch.where(kept_BK, variance_BK, 1.0).sqrt()
    turned_BRK = (filled_BRF - centre_B1F) @ (axes_BFK / size_BK[:, None])
    shown_BRK = turned_BRK.clamp(-_FARTHEST, _FARTHEST) * kept_BK[:, None]
    return shown_BRK.round(decimals=_DECIMALS) + 0.0


def _standardised(batch: TaskBatch, is_number_BF: Tensor) -> Tensor:
    """(B, R, F) float64, NaN where a number is missing; columns that are no numbers, or constant, are 0."""
    X_BRF = batch.X.double().masked_fill(~is_number_BF[:, None], 0.0)
    gap_BRF = X_BRF.isnan()
    filled_BRF = X_BRF.nan_to_num(nan=0.0)
    known_BNF = ~gap_BRF[:, : batch.n_context]
    count_B1F = known_BNF.sum(1, keepdim=True).clamp_min(1)
    mean_B1F = filled_BRF[:, : batch.n_context].sum(1, keepdim=True) / count_B1F
    centred_BNF = (filled_BRF[:, : batch.n_context] - mean_B1F) * known_BNF
    std_B1F = (centred_BNF.square().sum(1, keepdim=True) / count_B1F).sqrt()
    std_B1F = torch.where(std_B1F > 1e-9 * mean_B1F.abs(), std_B1F, torch.inf)
    Z_BRF = ((filled_BRF - mean_B1F) / std_B1F).clamp(-_FARTHEST, _FARTHEST)
    return Z_BRF.masked_fill(gap_BRF, torch.nan)


def _filled(Z_BRF: Tensor, centre_B1F: Tensor, covariance_BFF: Tensor) -> Tensor:
    """Gaps at their expectation given the row's other cells: one system of equations for each row."""
    gap_BRF = Z_BRF.isnan()
    centred_BRF = (Z_BRF - centre_B1F).masked_fill(gap_BRF, 0.0)
    seen_BRF = (~gap_BRF).to(Z_BRF.dtype)
    system_BRFF = covariance_BFF[:, None] * seen_BRF[..., None] * seen_BRF[..., None, :]
    system_BRFF = system_BRFF + torch.diag_embed(1 - seen_BRF)
    factor_BRFF = torch.linalg.cholesky_ex(system_BRFF).L
    weight_BRF = torch.cholesky_solve(centred_BRF[..., None], factor_BRFF)[..., 0]
    expected_BRF = weight_BRF @ covariance_BFF
    return (torch.where(gap_BRF, expected_BRF, centred_BRF) + centre_B1F).clamp(-_FARTHEST, _FARTHEST)

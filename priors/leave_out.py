"""Ridge and kernel ridge regression of many tasks at once, each labelled row answered by a fit without it.

Batched counterparts of `icl.prediction.companions.ridge` and `.kernel`, for tasks that are made by the thousand: fewer
waves, landmarks and penalties, and no loop over tasks.

Source:
    Leave-one-out: Allen (1974), doi:10.1080/00401706.1974.10489157; random features: Rahimi & Recht (2007); projection
    on landmarks: Williams & Seeger (2001).

Dimension key: B tasks, R rows = N context + M query, F columns of the table, P columns of a design, Q features of a
regression, T targets, L penalties.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from priors.draw import student_t, uniform
from priors.task import TaskBatch

_RIDGE_PENALTIES = (1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
_KERNEL_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 1e1)
_WAVE_SCALES, _KERNEL_SCALES = (0.3, 1.0, 3.0), (0.25, 0.5, 1.0, 2.0, 4.0)
_MOST_WAVES, _N_LANDMARKS = 96, 128
_MOST_LEVELS, _MOST_DESIGN = 30, 256
_FAR, _FAR_IN_KERNEL = 8.0, 5.0


class Answers(NamedTuple):
    """What a regression says of every row.

    Attributes:
        rows_BRT: of context rows each without itself, of query rows from all of the context.
        gain_B: share of the squared error of the mean that is removed in the context, leaving out.
    """

    rows_BRT: Tensor
    gain_B: Tensor


def design_of(batch: TaskBatch) -> Tensor:
    """(B, R, P) float64: standardised numbers with gaps at the mean, flags of gaps, indicators of levels.

    What is learnt of a column is learnt from the context. Columns that are 0 in all tasks are left out; of more than
    256 the fullest remain.
    """
    X_BRF, flags_B1F = batch.X.double(), batch.is_categorical[:, None]
    missing_BRF = X_BRF.isnan()
    filled_BRF = X_BRF.nan_to_num()
    known_BNF = ~missing_BRF[:, : batch.n_context]
    count_B1F = known_BNF.sum(1, keepdim=True).clamp_min(1)
    mean_B1F = filled_BRF[:, : batch.n_context].sum(1, keepdim=True) / count_B1F
    centred_BNF = (filled_BRF[:, : batch.n_context] - mean_B1F) * known_BNF
    std_B1F = (centred_BNF.square().sum(1, keepdim=True) / count_B1F).sqrt()
    z_BRF = ((filled_BRF - mean_B1F) / std_B1F.clamp_min(1e-9)).clamp(-_FAR, _FAR).masked_fill(missing_BRF, 0.0)
    level_K = torch.arange(_MOST_LEVELS, device=X_BRF.device)
    levels_BRFK = (X_BRF[..., None] == level_K) & flags_B1F[..., None]
    numbers_BRF2 = torch.stack([z_BRF, missing_BRF.to(z_BRF.dtype)], -1) * ~flags_B1F[..., None]
    A_BRP = torch.cat([levels_BRFK.to(z_BRF.dtype), numbers_BRF2], -1).flatten(2)
    filled_P = A_BRP[:, : batch.n_context].ne(0).sum((0, 1))
    # The fullest: of a hundred columns of levels the rare ones tell least.
    kept = filled_P.topk(min(_MOST_DESIGN, int((filled_P > 0).sum()) or 1)).indices.sort().values
    return A_BRP[..., kept]


def ridge(A_BRP: Tensor, Y_BNT: Tensor) -> Answers:
    """Linear ridge regression on a design."""
    return _leave_out(_standardised(A_BRP, Y_BNT.shape[1]), Y_BNT, _RIDGE_PENALTIES)


def waves(A_BRP: Tensor, Y_BNT: Tensor, generator: torch.Generator) -> Answers:
    """Ridge regression on random waves of a design and the design itself; each task's best length scale of three."""
    N, P = Y_BNT.shape[1], A_BRP.shape[2]
    Z_BRP = _standardised(A_BRP, N)
    size = (P, min(_MOST_WAVES, 2 * N))
    df = torch.full((), 3.0, device=generator.device)
    frequency_PW = student_t(df, size, generator).to(Z_BRP) / math.sqrt(P)
    phase_W = uniform(0, 2 * math.pi, size[1:], generator).to(Z_BRP)
    found = []
    for scale in _WAVE_SCALES:
        Phi_BRQ = torch.cat([torch.cos(Z_BRP @ frequency_PW / scale + phase_W), Z_BRP / math.sqrt(P)], -1)
        centred_BRQ = Phi_BRQ - Phi_BRQ[:, :N].mean(1, keepdim=True)
        found.append(_leave_out(centred_BRQ, Y_BNT, _RIDGE_PENALTIES))
    return best_of(found)


def kernel(A_BRP: Tensor, Y_BNT: Tensor, generator: torch.Generator) -> Answers:
    """Kernel ridge regression, projected on some context rows; each task's best length scale of five."""
    B, N, P = *Y_BNT.shape[:2], A_BRP.shape[2]
    # Half of them are the rows that lie farthest out: a rare level that no landmark has would be like no level.
    far_BN = _standardised(A_BRP, N)[:, :N].square().sum(-1)
    chance_BN = uniform(0, 1, (B, N), generator).to(far_BN)
    far_B1 = far_BN.topk(min(_N_LANDMARKS // 2, N)).values[:, -1:]
    chosen_BL = torch.where(far_BN >= far_B1, 2 + chance_BN, chance_BN).topk(min(_N_LANDMARKS, N)).indices
    A_BRP = A_BRP.clamp(-_FAR_IN_KERNEL, _FAR_IN_KERNEL)
    landmarks_BLP = A_BRP.gather(1, chosen_BL[..., None].expand(*chosen_BL.shape, P))
    squares_BRL = torch.cdist(A_BRP, landmarks_BLP).square()
    spread_B11 = A_BRP[:, :N].var(1, correction=0).sum(-1).clamp_min(1e-9)[:, None, None]
    found = []
    for scale in _KERNEL_SCALES:
        K_BRL = torch.exp(squares_BRL / (-2 * scale**2 * spread_B11)) + 1.0
        found.append(_leave_out(_projected(K_BRL, chosen_BL), Y_BNT, _KERNEL_PENALTIES))
    return best_of(found)


def best_of(found: list[Answers]) -> Answers:
    """Of each task the answers that gain most."""
    gain_KB = torch.stack([answers.gain_B for answers in found])
    best_B = gain_KB.argmax(0)
    tasks_B = torch.arange(len(best_B), device=best_B.device)
    return Answers(torch.stack([answers.rows_BRT for answers in found])[best_B, tasks_B], gain_KB.amax(0))


def _projected(K_BRL: Tensor, row_BL: Tensor) -> Tensor:
    """(B, R, L) features whose products are those of a kernel with its landmarks, which are the rows `row_BL`."""
    inner_BLL = K_BRL.gather(1, row_BL[..., None].expand(-1, -1, K_BRL.shape[2]))
    # What rounding leaves of a singular matrix, as a share of its diagonal.
    jitter_B1 = 1e-7 * inner_BLL.diagonal(dim1=1, dim2=2).mean(1, keepdim=True)
    factor_BLL = torch.linalg.cholesky_ex(inner_BLL + torch.diag_embed(jitter_B1.expand(inner_BLL.shape[:2])))[0]
    return torch.linalg.solve_triangular(factor_BLL, K_BRL.mT, upper=False).mT


def _standardised(A_BRP: Tensor, n_context: int) -> Tensor:
    """Mean 0 and standard deviation 1 over the context."""
    std_B1P, mean_B1P = torch.std_mean(A_BRP[:, :n_context], 1, correction=0, keepdim=True)
    return torch.where(std_B1P > 1e-6, (A_BRP - mean_B1P) / std_B1P.clamp_min(1e-6), 0.0).clamp(-_FAR, _FAR)


def _leave_out(Phi_BRQ: Tensor, Y_BNT: Tensor, penalties: tuple[float, ...]) -> Answers:
    """Ridge regression on features, each task's penalty by the squared error leaving one row out.

    The answers stay within the range of the context targets, which are centred over the context.
    """
    N = Y_BNT.shape[1]
    if Phi_BRQ.shape[2] > N:
        Phi_BRQ = _projected(
            Phi_BRQ @ Phi_BRQ[:, :N].mT, torch.arange(N, device=Phi_BRQ.device).expand(len(Phi_BRQ), N)
        )
    Q, Phi_BNQ = Phi_BRQ.shape[2], Phi_BRQ[:, :N]
    penalty_L11 = torch.tensor(penalties, dtype=Phi_BRQ.dtype, device=Phi_BRQ.device)[:, None, None]
    gram_BQQ = Phi_BNQ.mT @ Phi_BNQ
    eye_QQ = torch.eye(Q, dtype=Phi_BRQ.dtype, device=Phi_BRQ.device)
    factor_BLQQ = torch.linalg.cholesky_ex(gram_BQQ[:, None] + penalty_L11 * eye_QQ)[0]
    half_BLQN = torch.linalg.solve_triangular(factor_BLQQ, Phi_BNQ.mT[:, None], upper=False)
    leverage_BLN1 = half_BLQN.square().sum(2)[..., None] + 1 / N
    weights_BLQT = torch.cholesky_solve((Phi_BNQ.mT @ Y_BNT)[:, None], factor_BLQQ)
    left_BLNT = (Y_BNT[:, None] - Phi_BNQ[:, None] @ weights_BLQT) / (1 - leverage_BLN1).clamp_min(1e-6)
    error_BL = left_BLNT.square().sum((2, 3)).nan_to_num(nan=torch.inf)
    best_B = error_BL.argmin(1)
    tasks_B = torch.arange(len(best_B), device=best_B.device)
    rows_BRT = torch.cat(
        [Y_BNT - left_BLNT[tasks_B, best_B], Phi_BRQ[:, N:] @ weights_BLQT[tasks_B, best_B]], 1
    ).nan_to_num()
    low_B1T, high_B1T = Y_BNT.amin(1, keepdim=True), Y_BNT.amax(1, keepdim=True)
    null_B = (Y_BNT * N / (N - 1)).square().sum((1, 2)).clamp_min(1e-12)
    return Answers(rows_BRT.clamp(low_B1T, high_B1T), 1 - error_BL.amin(1) / null_B)

"""How much of the predictions enters the answer. The weight is decided once, before any interval or p-value.

All weights act on influences: W multiplies what the predictions say about each coefficient, on the scale of the scores
of the outcome (`Contributions.bridge`). For a linear model that is the plain difference of two solutions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icl.inference.checks import OptionalArray
from icl.inference.engine.answer import name_of
from icl.inference.engine.contributions import Contributions

POOLED = ("synsurr", "shrunk", "matrix")
"""Weights whose eta_elsewhere is solved on all rows."""
NAMED_WEIGHTS = ("auto", "ppi++", "coordinate", "matrix", "synsurr", "shrunk", "recalibrated")
UNINFORMATIVE = 1e-8
"""Predictions whose residuals are smaller than this, relative to their spread, say nothing beyond the covariates."""
SYMMETRIC = 1e-6
"""Differences between the halves of a Hessian that central differences leave, in units of its diagonal."""
ALONE = 1e-9
"""What is left over where one row decides a weight, beyond rounding."""
ROUNDING = 1e-13
"""Residuals smaller than this, relative to the predictions themselves, are what rounding leaves of none."""


@dataclass(frozen=True)
class Weight:
    """W of theta = beta + W (eta_elsewhere - eta_labeled), and how far the labeled outcomes moved it.

    Shapes: n labeled rows, P parameters. `tilt` and `leverage` are None for a weight that was fixed beforehand.
    """

    name: str
    W: np.ndarray
    """(P, P)."""
    pooled: bool = False
    """eta_elsewhere is solved on all rows (SynSurr, Chen-Chen) instead of the unlabeled ones (PPI, PSPA)."""
    tilt: OptionalArray = None
    """(n, P) contribution of each labeled row through the weight it helped to decide: dW times the gap."""
    leverage: OptionalArray = None
    """(n,) or (n, P) share of each labeled row in deciding the weight."""
    lever: OptionalArray = None
    """(n,) derivative of a scalar weight by the residual of each labeled row; single-response linear models only."""
    block: tuple[np.ndarray, np.ndarray] | None = None
    """(n, P) b and (n, P) l, if one number was fitted to all P coordinates together: the labeled row i shrank its own
    P contributions by b_i l_i', not all of them alike."""
    moves: OptionalArray = None
    """(n, C) what each row adds to the C different numbers of a diagonal weight; `tilt` is this times the gap."""
    pull: OptionalArray = None
    """(n, P) derivative of the estimate by the residual of each labeled row, through the weight that it helped to
    decide; None where rows have no single residual."""
    per_row: OptionalArray = None
    """(n, P) of a matrix: row i moves it by its rest (P,) times these."""
    refit: OptionalArray = None
    """(n, P) the diagonal that would be used without each labeled row."""
    is_defined: bool = True
    """False where predictions carry nothing beyond the covariates, so that any weight gives the same answer."""

    @property
    def tuned(self) -> bool:
        return self.name in NAMED_WEIGHTS

    @property
    def costs(self) -> bool:
        """It was chosen from the data, and enters the answer: a degree of freedom is spent."""
        return self.tuned and (self.refit is not None or bool(self.W.any()))

    @property
    def value(self) -> float | np.ndarray:
        """W as a reader wants it: a number if it is a multiple of the identity, else its diagonal (P,)."""
        diagonal = np.diag(self.W)
        is_scalar = (np.diag(diagonal) == self.W).all() and (diagonal == diagonal[0]).all()
        return float(diagonal[0]) if is_scalar else diagonal


def read_weight(weight: str | float, compat: str | None = None) -> str | float:
    """`weight` as a known name or a finite number; ValueError if it is neither."""
    if isinstance(weight, str):
        if weight not in NAMED_WEIGHTS:
            raise ValueError(
                f"weight got {weight!r}; known are {', '.join(map(repr, NAMED_WEIGHTS))} and numbers "
                "(0 = labeled rows only, 1 = PPI)."
            )
        if compat is not None:
            known = PEERS[compat]
            if weight not in ("auto", *known):
                raise ValueError(
                    f"compat={compat!r} knows no weight {weight!r}; use {' or '.join(map(repr, known))} or a number, "
                    "or drop compat."
                )
            return known[0] if weight == "auto" else weight
        return weight
    try:
        value = float(weight)
    except (TypeError, ValueError):
        names = ", ".join(map(repr, NAMED_WEIGHTS))
        raise ValueError(f"weight got {weight!r}; pass one of {names}, or one number.") from None
    if not np.isfinite(value):
        raise ValueError(f"weight got {value}; pass a finite number, 0 for labeled rows only, 1 for PPI.")
    return value


def resolve_auto(parts: Contributions) -> str:
    """What `auto` stands for on this problem: decided from the kind of estimand alone, never from the outcome.

    `synsurr` where the model has residuals. No weight is narrower where many weights are safe: a slope among P = 2 or 6
    coefficients, n = 100 to 500, N = 2,000, good predictions (biased ones), width over the classical: synsurr .277 to
    .478 (.974 to .980), coordinate .277 to .480 (.981 to 1.014), matrix .279 to .477 (.991 to 1.038); 400 repetitions.

    The narrowest interval of each sample is not offered, because looking for it costs coverage. Nominal .90, mean over
    nine cases (mean and slope, n = 20 to 200, 400 repetitions each): classical .878, synsurr .884, the narrower of the
    two .873, the narrowest of classical, ppi, ppi++, synsurr and matrix .861; slope at n = 20 with biased predictions
    .853, .855, .820, .790, for a width of .83 (benchmarks/coverage.md has more).
    """
    if parts.problem.estimand.solver == "bootstrap":
        return "coordinate"
    if parts.residual_f is None:
        return "matrix" if parts.problem.sampling.pools else "ppi++"
    return "shrunk"


def decide_weight(parts: Contributions, weight: str | float) -> Weight:
    """The weight that `weight` (after `read_weight`) stands for on this problem."""
    problem = parts.problem
    P, pools = len(problem.terms), problem.sampling.pools
    if not isinstance(weight, str):
        return Weight(name_of(weight), float(weight) * np.eye(P), pooled=pools)
    if pools and weight not in POOLED:
        raise ValueError(
            f"weight={weight!r} compares labeled rows with unlabeled ones, which this design makes different by "
            f"intention. Use 'auto', a number, or one of {', '.join(map(repr, POOLED))}."
        )
    pooled = weight in POOLED
    if _says_nothing(parts):
        return Weight(weight, np.zeros((P, P)), pooled, is_defined=False)
    return {"synsurr": _synsurr, "ppi++": _scalar, "coordinate": _coordinate, "matrix": _matrix}[weight](parts)


def _says_nothing(parts: Contributions) -> bool:
    """Predictions are constant, or a linear function of the covariates, up to rounding."""
    u, f = parts.residual_f, parts.problem.rows_f.Y
    if u is None:
        b = parts.influence_f
        return _size(b) <= 100 * ROUNDING * _size(parts.labeled_f.estimate)
    return _size(u) <= max(ROUNDING * _size(f), UNINFORMATIVE * _size(f - f.mean(axis=0)))


def _size(values: np.ndarray) -> float:
    """Euclidean norm, of numbers of any size."""
    largest = float(np.abs(values).max(initial=0.0))
    return largest * float(np.linalg.norm(values / largest)) if largest > 0 else 0.0


def _synsurr(parts: Contributions) -> Weight:
    """Slope of the outcome on the predictions, given the covariates: between their score residuals in a GLM.

    One slope for each response of a linear model (the means of several outcomes); one for all classes of a multinomial.
    Source: McCaw, Gao, Lin, Gronsbell (2024), Nature Genetics, doi:10.1038/s41588-024-01793-9, for least squares.
    """
    problem, r, u = parts.problem, parts.residual_y, parts.residual_f
    if u is None:
        raise ValueError(
            f"weight='synsurr' needs residuals, which {str(problem.estimand)!r} has not; use 'ppi++', 'coordinate' or "
            "'matrix'."
        )
    w = problem.rows_y.weights
    wu = u if w is None else w[:, None] * u
    P, K = len(problem.terms), u.shape[1]
    gap = parts.gap(pooled=True)
    if not problem.model.is_linear:
        information = float((wu * u).sum())
        lever = wu / information
        delta = float((lever * r).sum())
        moves = np.einsum("nk,nk->n", lever, r - delta * u)[:, None]
        pull = lever * gap if K == 1 else None
        share = np.einsum("nk,nk->n", lever, u)
        return Weight("synsurr", delta * np.eye(P), True, moves * gap, share, moves=moves, pull=pull)
    information = np.einsum("nk,nk->k", wu, u)
    # A constant prediction of one of several outcomes has no slope, and any would do.
    lever = np.divide(wu, information, out=np.zeros_like(wu), where=information > 0)
    delta = np.einsum("nk,nk->k", lever, r)
    repeat = P // K
    moves = lever * (r - delta * u)
    tilt = np.repeat(moves, repeat, axis=1) * gap
    share = lever * u
    pull = np.repeat(lever, repeat, axis=1) * gap
    if K == 1:
        return Weight("synsurr", delta[0] * np.eye(P), True, tilt, share[:, 0], lever[:, 0], moves=moves, pull=pull)
    share = np.repeat(share, repeat, axis=1)
    return Weight("synsurr", np.diag(np.repeat(delta, repeat)), True, tilt, share, moves=moves, pull=pull)


def _tuning_terms(parts: Contributions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pieces of the optimal two-sample weight Cov(beta, eta_L) / (Var eta_L + Var eta_U), coordinate by coordinate.

    The variance of labeled predictions comes from labeled rows although the unlabeled ones know it better: a row with a
    large covariance then has a large variance too, and the weight stays near the slope between them. With one variance
    pooled over all rows (as PPI++ has it) the weight swung with single rows: mean, n = 20, N = 1,000, correlation .97,
    root mean squared error 1.14 times the classical one (now .24), mean width of a slope at n = 50 four times it (.31).

    Returns:
        B (n, P): what multiplies the contribution of a row to beta in that covariance (of its cluster, if it has one);
        covariance (P,) and both variances added (P,).
    """
    b = parts.influence_f
    B = parts.over_clusters(b)
    covariance = np.einsum("np,np->p", parts.influence_y, B)
    variance = np.einsum("np,np->p", b, B) + np.diag(parts.unlabeled_spread_on_bridge)
    return B, covariance, variance


def _scalar(parts: Contributions) -> Weight:
    """The scalar that minimises the variance of the linear predictor, summed over labeled rows; not clipped.

    Source: Angelopoulos, Duchi, Zrnic (2023), PPI++, arXiv:2311.01453. Deviations: each group of rows is centered
    at its own solution, which is what the estimate uses, so the weight does not depend on the level of the predictions;
    the variances are those of `_tuning_terms`; and they sum the variances of the coefficients, so that the answer
    changes with the units of the covariates (a slope by 2e-3 to 2e-2 of itself) and with what they are centered at.
    tr(H V), for V the covariance of the coefficients and H the Hessian of beta, changes with neither; for one
    coefficient it is the same.
    """
    b, metric = parts.influence_f, _metric(parts)
    B = _tuning_terms(parts)[0] @ metric
    total = float((b * B).sum() + (metric * parts.unlabeled_spread_on_bridge).sum())
    lever = B / total  # derivative of the weight by the contribution of a row to beta
    value = float((parts.influence_y * B).sum()) / total
    rest = parts.influence_y - value * b
    tilt = np.einsum("np,np->n", rest, lever)[:, None] * parts.gap(pooled=False)
    problem, by_residual, pull = parts.problem, None, None
    if parts.levers is not None:
        moved = np.einsum("np,np->n", parts.levers, lever)
        pull = moved[:, None] * parts.gap(pooled=False)
        if problem.model.is_linear and parts.residual_f.shape[1] == 1 and problem.sampling.is_plain:
            by_residual = moved
    share = np.einsum("np,np->n", b, lever)
    block = (b, lever)
    return Weight("ppi++", value * np.eye(len(metric)), False, tilt, share, by_residual, block=block, pull=pull)


def _metric(parts: Contributions) -> np.ndarray:
    """(P, P) in which variances of coefficients are summed, on a scale that keeps within the range of floats.

    The Hessian of beta; where that is no curvature of a loss, as a user's own equation may have it, each variance
    counts in units of that of beta.
    """
    metric = parts.labeled_y.hessian
    unit = np.sqrt(np.abs(np.diag(metric)))
    scaled = metric / unit / unit[:, None]  # Hessians are inverted, so no entry of the diagonal is zero
    is_loss = np.allclose(scaled, scaled.T, atol=SYMMETRIC) and np.linalg.eigvalsh((scaled + scaled.T) / 2)[0] > 0
    if is_loss:
        metric = (metric + metric.T) / 2
    else:
        variance = np.einsum("np,np->p", parts.influence_y, parts.over_clusters(parts.influence_y))
        metric = np.diag(np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 0))
    size = np.abs(metric).max()
    return metric / size if size > 0 else np.eye(len(metric))


def _coordinate(parts: Contributions) -> Weight:
    """One scalar for each coefficient, each minimising the variance of its own; not clipped.

    Source: Miao, Miao, Wu, Zhao, Lu (2023), PSPA, arXiv:2311.14220. Deviations as in `_scalar`.
    """
    b = parts.influence_f
    B, covariance, variance = _tuning_terms(parts)
    lever = np.divide(B, variance, out=np.zeros_like(B), where=variance > 0)
    value = np.divide(covariance, variance, out=np.zeros_like(variance), where=variance > 0)
    rest = parts.influence_y - value * b
    through = lever * parts.gap(pooled=False)
    pull = None if parts.levers is None else parts.levers * through
    refit = None
    if parts.problem.sampling.clusters_labeled is None:  # without row i, exactly: one row less in both sums
        left = 1 - b * lever
        change = np.divide(rest * lever, left, out=np.array(np.broadcast_to(value, b.shape)), where=left > ALONE)
        refit = value - change
    return Weight("coordinate", np.diag(value), False, rest * through, b * lever, pull=pull, refit=refit)


def _matrix(parts: Contributions) -> Weight:
    """The full matrix that minimises the covariance; needs many labeled rows for each coefficient.

    Source: Chen & Chen (2000), doi:10.1111/1467-9868.00243; Gronsbell et al. (2024), arXiv:2411.19908.
    """
    b = parts.influence_f
    P, n_units = b.shape[1], parts.problem.n_labeled_units
    if n_units < 2 * P + 2:
        raise ValueError(
            f"weight='matrix' estimates {P} numbers for each of {P} coefficients, which takes at least {2 * P + 2} "
            f"independent labeled rows; there are {n_units}. Use weight='auto'."
        )
    B = parts.over_clusters(b)
    gram = b.T @ B
    scale = np.sqrt(np.diag(gram))
    scale = np.where(scale > 0, scale, 1.0)
    inverse = np.linalg.pinv(gram / scale / scale[:, None], rcond=1e-10, hermitian=True) / scale / scale[:, None]
    W = parts.influence_y.T @ B @ inverse
    return matrix_weight(parts, W, B @ inverse)


def matrix_weight(parts: Contributions, W: np.ndarray, per_row: np.ndarray) -> Weight:
    """The matrix W, which row i moves by what W leaves of its contribution, times `per_row` (n, P)."""
    b = parts.influence_f
    rest, through = parts.influence_y - b @ W.T, (per_row @ parts.gap(pooled=True))[:, None]
    share = np.einsum("np,np->n", per_row, b)
    pull = None if parts.levers is None else parts.levers * through
    return Weight("matrix", W, True, rest * through, share, pull=pull, per_row=per_row)


WEIGHTS = ("matrix", "coordinate", "ppi++")


def optimal_weight(weight: str | float, cross: np.ndarray, total: np.ndarray) -> np.ndarray:
    """(P, P) weight from the covariance (P, P) of beta with eta_L - eta_U, and the variance (P, P) of the latter."""
    P = len(total)
    if not isinstance(weight, str):
        return float(weight) * np.eye(P)
    if weight == "ppi++":
        return (np.trace(cross) / np.trace(total) if np.trace(total) > 0 else 0.0) * np.eye(P)
    if weight == "coordinate":
        top, bottom = np.diag(cross), np.diag(total)
        return np.diag(np.divide(top, bottom, out=np.zeros(P), where=bottom > 0))
    if weight == "matrix":
        return cross @ np.linalg.pinv(total, rcond=1e-10, hermitian=True)
    raise ValueError(f"weight got {weight!r}; known are {', '.join(map(repr, WEIGHTS))} and numbers.")


PEERS = {"ppi_py": ("ppi++", "coordinate"), "ipd": ("coordinate", "matrix")}
"""Named weights that each program knows; the first is what `auto` means. All know numbers (ipd: 0 and 1)."""

"""Rows that depend on one another within clusters: contributions at their full size, and degrees of freedom.

Sources: Bell & McCaffrey (2002), Survey Methodology 28, 169-181 (CR2, CR3, degrees of freedom); Imbens & Kolesar
(2016), doi:10.1162/REST_a_00552 (with errors that correlate within clusters); Pustejovsky & Tipton (2018),
doi:10.1080/07350015.2016.1247004.
"""

from __future__ import annotations

import numpy as np

from icl.inference.checks import OptionalArray

WORKING_CORRELATION = 0.5
"""Of the errors of two rows of a cluster, where degrees of freedom are counted. An estimate would be worth little with
the few clusters for which it matters, and without correlation a large cluster would seem less decisive than it is."""
LEAST_SLACK = 1e-9


def group_sums(contributions: np.ndarray, codes: np.ndarray, n_groups: int) -> np.ndarray:
    """(G, ...) contributions of rows (R, ...) summed within each of the groups 0 to G - 1."""
    out = np.zeros((n_groups, *contributions.shape[1:]))
    np.add.at(out, codes, contributions)
    return out


class GroupSums:
    """Contributions of rows summed within named groups; what parts of the rows gave is joined by +."""

    def __init__(self, names: np.ndarray, sums: np.ndarray) -> None:
        self._parts = [(names, sums)]
        self._n_compact = 0

    @classmethod
    def of(cls, names: OptionalArray, contributions: np.ndarray) -> GroupSums:
        """Of rows with names (R,) and contributions (R, ...)."""
        own, code = np.unique(names, return_inverse=True)
        return cls(own, group_sums(contributions, code, len(own)))

    def __add__(self, other: GroupSums) -> GroupSums:
        joined = GroupSums.__new__(GroupSums)
        joined._parts, joined._n_compact = [*self._parts, *other._parts], self._n_compact
        # Now and then, so that memory holds little more than the groups, and time goes to few sorts.
        if sum(len(names) for names, _ in joined._parts) > 2 * joined._n_compact + 100_000:
            joined._parts = [joined.result()]
            joined._n_compact = len(joined._parts[0][0])
        return joined

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """(G,) names in order, and (G, ...) sums."""
        names, code = np.unique(np.concatenate([names for names, _ in self._parts]), return_inverse=True)
        return names, group_sums(np.concatenate([sums for _, sums in self._parts]), code, len(names))


def adjustments(hessians: np.ndarray, bread: np.ndarray, kind: str) -> np.ndarray:
    """(G, P, P) what restores the contribution of a cluster to the size that it had before the fit shrank it.

    (I - B H_g)^-1 under "HC3" (CR3: leave one cluster out), its square root under "HC2" (CR2: right on average if
    errors are alike and independent); the identity otherwise.

    Args:
        hessians: (G, P, P) what each cluster adds to the Hessian, whose inverse is `bread` B.
    Raises:
        ValueError: where a cluster alone decides a coefficient.
    """
    G, P = len(hessians), len(bread)
    if kind not in ("HC2", "HC3"):
        return np.broadcast_to(np.eye(P), (G, P, P))
    # I - B H = C (I - C' H C) C^-1 with B = C C'; the middle is symmetric.
    C = np.linalg.cholesky((bread + bread.T) / 2)
    slack, vectors = np.linalg.eigh(np.eye(P) - np.einsum("pq,gpr,rs->gqs", C, hessians, C))
    if slack.min() < LEAST_SLACK:
        raise ValueError(
            f"one cluster alone decides a coefficient, so {kind} standard errors do not exist. Merge clusters, or use "
            "std_error='HC1'."
        )
    power = 1 / slack if kind == "HC3" else 1 / np.sqrt(slack)
    return C @ np.einsum("gpq,gq,grq->gpr", vectors, power, vectors) @ np.linalg.inv(C)


def inflate_clusters(
    sums: np.ndarray, hessians: np.ndarray | None, bread: np.ndarray, kind: str, leverage: np.ndarray | None = None
) -> np.ndarray:
    """Contributions (G, P) of labeled clusters, as `inflate` does for rows: CR0, CR1, CR2 or CR3.

    Args:
        hessians: (G, P, P) what each cluster adds to the Hessian; None where that is unknown (CR1 is used).
        leverage: (G,) or (G, P) of the clusters in a tuned weight.
    """
    G = len(sums)
    if kind == "HC0":
        return sums
    if kind not in ("HC2", "HC3") or hessians is None:
        return sums * np.sqrt(G / (G - 1))
    if leverage is not None and kind == "HC3":
        P = len(bread)
        share = np.broadcast_to(leverage.reshape(G, -1), (G, P))
        joint = np.eye(P) * (1 - share)[:, :, None] - np.einsum("pq,gqr->gpr", bread, hessians)
        leaves = np.linalg.det(joint) > LEAST_SLACK
        alone = adjustments(hessians, bread, kind)
        inverse = np.linalg.inv(np.where(leaves[:, None, None], joint, np.eye(P)))
        return np.einsum("gpq,gq->gp", np.where(leaves[:, None, None], inverse, alone), sums)
    grown = np.einsum("gpq,gq->gp", adjustments(hessians, bread, kind), sums)
    if leverage is None:
        return grown
    slack = 1 - leverage.reshape(G, -1)
    return grown / np.sqrt(np.where(slack > LEAST_SLACK, slack, 1.0))


def satterthwaite(
    scores: np.ndarray, codes: np.ndarray, hessians: np.ndarray, bread: np.ndarray, kind: str
) -> np.ndarray:
    """(P,) degrees of freedom of the variances that clusters give: what they are worth for each coefficient.

    G clusters of equal size are worth G - 1 for a mean. Where one cluster holds half of the rows, or three decide a
    coefficient, they are worth about two, however many there are.

    Args:
        scores: (n, P) scores of rows whose errors have variance 1 (`EstimatingEquation.working_scores`).
        codes: (n,) cluster of each row, 0 to G - 1.
        hessians, bread, kind: as in `adjustments`.
    """
    G, P = len(hessians), len(bread)
    together = group_sums(scores, codes, G)
    alone = group_sums(np.einsum("np,nq->npq", scores, scores), codes, G)
    rho = WORKING_CORRELATION
    spread = (1 - rho) * alone + rho * np.einsum("gp,gq->gpq", together, together)
    total = spread.sum(axis=0)
    A = adjustments(hessians, bread, kind)
    out = np.empty(P)
    for j in range(P):
        # The contribution of cluster g is q_g' of its scores, less what the fit took away: k_g' of all scores.
        q = A[:, j] @ bread
        k = np.einsum("gp,gpq->gq", q, hessians) @ bread
        r = np.einsum("gp,gpq->gq", q, spread)
        own = np.einsum("gp,gp->g", r, q)
        # Their covariance is diag(own) - r k' - k r' + k total k' = diag(own) + U V'.
        U, V = np.hstack([-r, -k, k @ total]), np.hstack([k, r, k])
        extra = np.einsum("gp,gp->g", U, V)
        trace = float((own + extra).sum())
        square = float(own @ own + 2 * own @ extra + np.trace((U.T @ U) @ (V.T @ V)))
        out[j] = trace**2 / square
    return out

"""Which solver answers a problem under a weight."""

from __future__ import annotations

from collections.abc import Callable

from icl.inference.engine.answer import Rectified
from icl.inference.engine.bootstrap import solve_by_bootstrap
from icl.inference.engine.peers.ipd import solve_like_ipd
from icl.inference.engine.peers.ppi_py import solve_like_ppi_py
from icl.inference.engine.problem import Problem
from icl.inference.engine.quantile import solve_quantile
from icl.inference.engine.recalibrate import solve_recalibrated
from icl.inference.engine.rectify import rectify
from icl.inference.engine.weights import resolve_auto

Solver = Callable[[Problem, "str | float"], Rectified]

_PEERS: dict[str, Solver] = {"ipd": solve_like_ipd, "ppi_py": solve_like_ppi_py}
_SOLVERS: dict[str, Solver] = {"scores": rectify, "inversion": solve_quantile, "bootstrap": solve_by_bootstrap}


def solve(problem: Problem, weight: str | float) -> Rectified:
    """The answer under `weight` (a name or a number); solved once and remembered."""
    if weight == "auto":
        weight = resolve_auto(problem)
    if weight not in problem.memo:
        problem.memo[weight] = _solver(problem, weight)(problem, weight)
    return problem.memo[weight]


def _solver(problem: Problem, weight: str | float) -> Solver:
    if problem.compat is not None:
        return _PEERS[problem.compat]
    if weight == "recalibrated" and problem.estimand.solver == "scores":
        return lambda problem, _: solve_recalibrated(problem)
    return _SOLVERS[problem.estimand.solver]

"""Which solver answers a problem under a weight, and the answers so far."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from icl.inference.engine.answer import Rectified
from icl.inference.engine.bootstrap import Draws, draw, solve_by_bootstrap, solve_imputed_statistic
from icl.inference.engine.contributions import Contributions
from icl.inference.engine.effect import EffectParts, naive_effect, regression_effect, solve_effect
from icl.inference.engine.firth import solve_penalised
from icl.inference.engine.imputed import solve_imputed
from icl.inference.engine.label_shift import solve_label_shift
from icl.inference.engine.peers.ipd import solve_like_ipd
from icl.inference.engine.peers.ppi_py import solve_like_ppi_py
from icl.inference.engine.problem import Problem
from icl.inference.engine.quantile import solve_imputed_quantile, solve_quantile
from icl.inference.engine.recalibrate import solve_recalibrated
from icl.inference.engine.rectify import rectify
from icl.inference.engine.weights import resolve_auto

PEERS: dict[str, Callable[[Contributions, str | float], Rectified]] = {
    "ipd": solve_like_ipd,
    "ppi_py": solve_like_ppi_py,
}


class Solver:
    """The answers to one problem. Each weight is solved once, from one set of contributions and of bootstrap draws."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.parts = Contributions(problem)
        self._answers: dict[str | float, Rectified] = {}

    def under(self, weight: str | float) -> Rectified:
        """The answer under `weight` (a name or a number)."""
        is_penalised = self.problem.estimand.solver == "profile"
        if weight == "auto" and self.problem.arms is not None:
            weight = "shrunk" if self.problem.arms.is_randomised else 1.0
        elif weight == "auto" and not self.problem.sampling.has_label_shift and not is_penalised:
            weight = resolve_auto(self.parts)
        if weight not in self._answers:
            self._answers[weight] = self._solve(weight)
        return self._answers[weight]

    @cached_property
    def imputed(self) -> Rectified:
        """The answer that counts predictions as real outcomes: not valid."""
        kind = self.problem.estimand.solver
        if kind == "bootstrap":
            return solve_imputed_statistic(self.problem)
        return solve_imputed_quantile(self.parts) if kind == "inversion" else solve_imputed(self.parts)

    @cached_property
    def effect(self) -> EffectParts:
        """What the answers about an effect have in common."""
        return EffectParts(self.problem.arms, self.problem.y, self.problem.std_error, self.problem.reference)

    def beside(self, name: str) -> Rectified:
        """Answers about an effect that need neither probabilities nor predictions, for contrast."""
        return {"difference in means": naive_effect, "regression": regression_effect}[name](self.effect)

    @cached_property
    def draws(self) -> Draws:
        """The statistic on resamples."""
        return draw(self.problem)

    def _solve(self, weight: str | float) -> Rectified:
        kind = self.problem.estimand.solver
        if kind == "profile":
            return solve_penalised(self.problem, self.parts.labeled_y, weight)
        if self.problem.sampling.has_label_shift and weight != 0:
            return solve_label_shift(self.parts)
        if self.problem.compat is not None:
            return PEERS[self.problem.compat](self.parts, weight)
        if kind == "effect":
            return solve_effect(self.effect, weight)
        if kind == "bootstrap":
            return solve_by_bootstrap(self.draws, weight)
        if kind == "inversion":
            return solve_quantile(self.parts, weight)
        return solve_recalibrated(self.parts) if weight == "recalibrated" else rectify(self.parts, weight)

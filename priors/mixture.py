"""Weighted mixtures of priors, and the default one: every family, learnable tasks only, with table effects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from priors.additive import AdditivePrior
from priors.clusters import ClustersPrior
from priors.contrasts import ContrastsPrior
from priors.crossed import CrossedPrior
from priors.decisions import DecisionsPrior
from priors.draw import choice
from priors.filter import Learnable
from priors.fine import FinePrior
from priors.function import FunctionPrior
from priors.levels import LevelsPrior
from priors.mlp import MLPPrior
from priors.resolution import Resolution
from priors.rules import RulesPrior
from priors.scm import SCMPrior
from priors.spectra import SpectraPrior
from priors.table import TableEffects
from priors.targets import TargetConfig
from priors.task import Prior, TaskBatch, TaskShape
from priors.transform import Transform, Transformed
from priors.tree import TreePrior

# Structure that real tables show most gets most of the weight; see benchmarks/realism.md.
FAMILIES: dict[type, float] = {
    SCMPrior: 3.0,
    MLPPrior: 2.0,
    FunctionPrior: 3.0,
    TreePrior: 1.3,
    AdditivePrior: 1.3,
    ClustersPrior: 1.2,
    RulesPrior: 0.4,
    CrossedPrior: 0.6,
}

FURTHER: tuple[type, ...] = (ContrastsPrior, DecisionsPrior, FinePrior, LevelsPrior, SpectraPrior)
"""Families that a mixture holds where it names them: what ships was trained without."""


@dataclass(frozen=True)
class MixturePrior:
    """One component, drawn by weight, makes each batch; what cannot be learnt is redrawn; then tables get dirty.

    With `final_weights` the weights follow a curriculum: `at_step` moves them from `weights` to `final_weights`,
    linearly over `ramp_steps` optimiser steps.

    Args:
        components: the priors; default: all table-making families for `task`.
        weights: one positive number per component, in any scale; default: equal, or those of the default families.
        final_weights: weights from step `ramp_steps` on; default: as `weights`.
        ramp_steps: length of the curriculum.
        transforms: applied to every component's batches; default: table effects, then finite resolution; [] for none.
        learnable: redraw tasks whose target does not depend on their features.
        task, target, missing: handed to the default families; ignored when `components` are given.
        families: weights by name that differ from the default families' own, {"rules": 1.4}; also brings in
            "contrasts", "decisions", "fine", "levels" and "spectra", which are in no mixture by default. Ignored
            when `components` are given.
    """

    components: list[Prior] | None = None
    weights: list[float] | None = None
    final_weights: list[float] | None = None
    ramp_steps: int = 0
    transforms: list[Transform] | None = None
    learnable: bool = True
    task: Literal["classification", "regression"] = "classification"
    target: TargetConfig = field(default_factory=TargetConfig)
    missing: float = 0.3
    families: dict[str, float] | None = None

    def __post_init__(self):
        # A frozen dataclass resolves its defaults through object.__setattr__.
        components = self.components
        if components is None:
            options = {"task": self.task, "target": self.target, "missing": self.missing}
            by_family = FAMILIES | self._named()
            components = [family(**options) for family in by_family]
            object.__setattr__(self, "components", components)
            if self.weights is None:
                object.__setattr__(self, "weights", list(by_family.values()))
        if self.transforms is None:
            object.__setattr__(self, "transforms", [TableEffects(), Resolution()])
        if self.weights is None:
            object.__setattr__(self, "weights", [1.0] * len(components))
        for name in ("weights", "final_weights"):
            given = getattr(self, name)
            if given is not None and (len(given) != len(components) or min(given, default=-1) < 0 or not sum(given)):
                raise ValueError(
                    f"a mixture needs one weight per component, none negative and not all 0; got "
                    f"{len(components)} components and {name}={given}."
                )
        if self.ramp_steps < 0:
            raise ValueError(f"ramp_steps must not be negative, got {self.ramp_steps}.")

    def _named(self) -> dict[type, float]:
        """The families that `families` names, and their weights."""
        known = {family.__name__.removesuffix("Prior").lower(): family for family in [*FAMILIES, *FURTHER]}
        unknown = sorted(set(self.families or {}) - set(known))
        if unknown:
            raise ValueError(f"there is no family {unknown[0]!r}; the families are {', '.join(sorted(known))}.")
        return {known[name]: weight for name, weight in (self.families or {}).items()}

    def at_step(self, step: int) -> MixturePrior:
        """The mixture as it is at an optimiser step."""
        if self.final_weights is None:
            return self
        share = min(1.0, step / self.ramp_steps) if self.ramp_steps else 1.0
        assert self.weights is not None  # resolved in __post_init__
        weights = [(1 - share) * a + share * b for a, b in zip(self.weights, self.final_weights, strict=True)]
        return replace(self, weights=weights, final_weights=None)

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        # Resolved in __post_init__, though the fields may be given as None.
        assert self.components is not None and self.weights is not None and self.transforms is not None
        component = self.components[int(choice(self.weights, (), generator))]
        if self.learnable:
            component = Learnable(component)
        return Transformed(component, self.transforms).sample(shape, generator)

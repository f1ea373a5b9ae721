"""A weighted mixture of priors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch

from priors.draw import choice
from priors.function import FunctionPrior
from priors.scm import SCMPrior
from priors.targets import TargetConfig
from priors.task import Prior, TaskBatch, TaskShape


@dataclass(frozen=True)
class MixturePrior:
    """One component, drawn by weight, makes each batch.

    Args:
        components: the priors; default: structural causal models and functions of columns for `task`.
        weights: one positive number per component, in any scale; default: equal.
        task, target, missing: handed to the default components; ignored when `components` are given.
    """

    components: list[Prior] | None = None
    weights: list[float] | None = None
    task: Literal["classification", "regression"] = "classification"
    target: TargetConfig = field(default_factory=TargetConfig)
    missing: float = 0.3

    def __post_init__(self):
        if self.components is None:
            options = {"task": self.task, "target": self.target, "missing": self.missing}
            object.__setattr__(self, "components", [SCMPrior(**options), FunctionPrior(**options)])
        if self.weights is None:
            object.__setattr__(self, "weights", [1.0] * len(self.components))
        if len(self.weights) != len(self.components) or min(self.weights, default=0) <= 0:
            raise ValueError(
                f"a mixture needs one positive weight per component, got {len(self.components)} components "
                f"and weights {self.weights}."
            )

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        return self.components[int(choice(self.weights, (), generator))].sample(shape, generator)

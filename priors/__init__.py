"""Synthetic tasks: distributions over tables with a target. Torch only, any device, seeded by generators."""

from __future__ import annotations

from priors.function import FunctionPrior
from priors.gp import GaussianProcessPrior
from priors.linear import LinearPrior
from priors.mixture import MixturePrior
from priors.scm import SCMPrior
from priors.shapes import ShapeSampler
from priors.table import TablePrior
from priors.targets import TargetConfig
from priors.task import Prior, TaskBatch, TaskShape

_REGISTRY: dict[str, type] = {
    "linear": LinearPrior,
    "gp": GaussianProcessPrior,
    "scm": SCMPrior,
    "function": FunctionPrior,
    "mixture": MixturePrior,
}


def available_priors() -> list[str]:
    """Names that `make_prior` knows."""
    return sorted(_REGISTRY)


def make_prior(name: str, **options) -> Prior:
    """A prior by name; `options` are its constructor's arguments.

    Raises:
        ValueError: for an unknown name; lists those that exist.
    """
    if name not in _REGISTRY:
        raise ValueError(f"there is no prior {name!r}; choose one of {', '.join(available_priors())}.")
    return _REGISTRY[name](**options)


__all__ = [
    "FunctionPrior",
    "GaussianProcessPrior",
    "LinearPrior",
    "MixturePrior",
    "Prior",
    "SCMPrior",
    "ShapeSampler",
    "TablePrior",
    "TargetConfig",
    "TaskBatch",
    "TaskShape",
    "available_priors",
    "make_prior",
]

"""Synthetic tasks: distributions over tables with a target. Torch only, any device, seeded by generators."""

from __future__ import annotations

from priors.additive import AdditivePrior
from priors.changepoint import ChangepointPrior
from priors.clusters import ClustersPrior
from priors.companions import CompanionColumns
from priors.contrasts import ContrastsPrior
from priors.crossed import CrossedPrior
from priors.decisions import DecisionsPrior
from priors.filter import Learnable
from priors.fine import FinePrior
from priors.function import FunctionPrior
from priors.gp import GaussianProcessPrior
from priors.levels import LevelsPrior
from priors.linear import LinearPrior
from priors.mixture import MixturePrior
from priors.mlp import MLPPrior
from priors.resolution import Resolution
from priors.rules import RulesPrior
from priors.scm import SCMPrior, StructuralCausalModel
from priors.shapes import ShapeSampler
from priors.spectra import SpectraPrior
from priors.table import TableEffects, TablePrior
from priors.targets import TargetConfig
from priors.task import Prior, TaskBatch, TaskShape
from priors.transform import Messy, Sometimes, Transform, Transformed
from priors.tree import TreePrior

_REGISTRY: dict[str, type] = {
    "linear": LinearPrior,
    "gp": GaussianProcessPrior,
    "changepoint": ChangepointPrior,
    "scm": SCMPrior,
    "mlp": MLPPrior,
    "function": FunctionPrior,
    "tree": TreePrior,
    "additive": AdditivePrior,
    "rules": RulesPrior,
    "clusters": ClustersPrior,
    "crossed": CrossedPrior,
    "contrasts": ContrastsPrior,
    "decisions": DecisionsPrior,
    "fine": FinePrior,
    "levels": LevelsPrior,
    "spectra": SpectraPrior,
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
    "AdditivePrior",
    "ChangepointPrior",
    "ClustersPrior",
    "CompanionColumns",
    "ContrastsPrior",
    "CrossedPrior",
    "DecisionsPrior",
    "FinePrior",
    "FunctionPrior",
    "GaussianProcessPrior",
    "Learnable",
    "LevelsPrior",
    "LinearPrior",
    "MLPPrior",
    "Messy",
    "MixturePrior",
    "Prior",
    "Resolution",
    "RulesPrior",
    "SCMPrior",
    "ShapeSampler",
    "Sometimes",
    "SpectraPrior",
    "StructuralCausalModel",
    "TableEffects",
    "TablePrior",
    "TargetConfig",
    "TaskBatch",
    "TaskShape",
    "Transform",
    "Transformed",
    "TreePrior",
    "available_priors",
    "make_prior",
]

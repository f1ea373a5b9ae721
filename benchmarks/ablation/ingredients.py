"""What is dropped from the default mixture or shifted, one at a time, and what is planted to do harm.

A variant leaves alone what it does not name: batches of the other families, and the draws of the other transforms, are
those of the full mixture to the bit, as far as generators allow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch

from priors import FunctionPrior, MixturePrior, columns, missing, noise, shift
from priors.draw import bernoulli, choice
from priors.filter import noise_only
from priors.missing import mask_cells
from priors.resolution import Resolution
from priors.table import _EFFECTS, TableEffects
from priors.targets import TargetConfig
from priors.task import Prior, TaskBatch, TaskShape
from priors.transform import Messy, Sometimes, Transform, Transformed, spawn

Task = Literal["classification", "regression"]
FULL, CONTROL, PLANTED = "full", "other-draws", "all-shuffled"


@dataclass(frozen=True)
class OtherDraws:
    """The same law and the same shapes, other tasks: what differs from the full mixture is chance."""

    prior: Prior

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        return self.prior.sample(shape, spawn(generator, 1)[0])


@dataclass(frozen=True)
class WithoutFamilies:
    """A mixture whose batches of some families are drawn anew from the others; the other batches stay."""

    mixture: MixturePrior
    families: tuple[str, ...]

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        names, weights = _names(self.mixture), self.mixture.weights
        if unknown := set(self.families) - set(names):
            raise ValueError(f"the mixture has no family {sorted(unknown)[0]!r}; it has {', '.join(names)}.")
        assert weights is not None  # resolved when the mixture was made
        ahead = torch.Generator(generator.device)
        ahead.set_state(generator.get_state())
        if names[int(choice(weights, (), ahead))] not in self.families:
            return self.mixture.sample(shape, generator)
        kept = [0.0 if name in self.families else w for name, w in zip(names, weights, strict=True)]
        return replace(self.mixture, weights=kept).sample(shape, ahead)


@dataclass(frozen=True)
class WithFamilies:
    """A mixture of which a share of the batches comes from `more`; the other batches stay."""

    mixture: MixturePrior
    more: MixturePrior
    share: float

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        own = torch.Generator(generator.device).manual_seed(generator.initial_seed() ^ 1)
        return (self.more if bool(bernoulli(self.share, (), own)) else self.mixture).sample(shape, generator)


@dataclass(frozen=True)
class EffectsWithout:
    """`TableEffects` without some of its transforms; the draws of the others stay."""

    without: tuple[type, ...]

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        plain = TableEffects()
        batch = replace(batch, X=mask_cells(batch.X, generator, plain.missing))
        shares = [0.0 if isinstance(effect, self.without) else share for share, effect in _EFFECTS]
        return Messy([effect for _, effect in _EFFECTS], shares, plain.correlation)(batch, generator)


@dataclass(frozen=True)
class Ingredient:
    """A change of the full mixture.

    Attributes:
        change: in words, for the report.
        build: kind of target -> prior.
    """

    change: str
    build: Callable[[Task], Prior]


def _mixture(**options) -> Callable[[Task], Prior]:
    return lambda task: MixturePrior(task=task, **options)


def _without(*families: str) -> Callable[[Task], Prior]:
    return lambda task: WithoutFamilies(_full(task), families)


def _only(family: str) -> Callable[[Task], Prior]:
    return _without(*(name for name in _names(_full("regression")) if name != family))


def _shuffled(share: float) -> Callable[[Task], Prior]:
    return lambda task: Transformed(_full(task), [Sometimes(noise_only, share)])


def _effects(*transforms: Transform, **options) -> Callable[[Task], Prior]:
    return _mixture(transforms=list(transforms), **options)


def _full(task: Task) -> MixturePrior:
    return MixturePrior(task=task)


def _names(mixture: MixturePrior) -> list[str]:
    assert mixture.components is not None
    return [type(component).__name__.removesuffix("Prior").lower() for component in mixture.components]


def _further(task: Task) -> Prior:
    more = MixturePrior(task=task, families={"levels": 1.0, "spectra": 1.0})
    only = [float(name in ("levels", "spectra")) for name in _names(more)]
    return WithFamilies(_full(task), replace(more, weights=only), share=0.15)


def _no_trees(task: Task) -> Prior:
    full = _full(task)
    assert full.components is not None
    branchless = [replace(c, tree=0.0) if isinstance(c, FunctionPrior) else c for c in full.components]
    return WithoutFamilies(replace(full, components=branchless), ("tree", "rules"))


_GAPS = (missing.MissingBlocks, missing.CodedGaps)
_NEEDLESS = (columns.IrrelevantColumns, columns.CollinearColumns, columns.DuplicateColumns)
_NOISE = (
    noise.HeteroskedasticNoise, noise.HeavyTailedNoise, noise.TargetOutliers, noise.ClassConditionalLabelNoise,
    noise.InstanceDependentLabelNoise,
)  # fmt: skip
_NO_ROUNDING = Resolution(columns=0.0, targets=0.0)
_CERTAIN = TargetConfig(noise=(0.001, 0.005), max_label_noise=0.0, sharpness=(1_000.0, 1_000.0))
_FEW_RARE = TargetConfig(min_class_share=0.3)

# In the order in which they are run: what is asked first is what most depends on.
INGREDIENTS: dict[str, Ingredient] = {
    FULL: Ingredient("nothing, the default mixture", _full),
    "shuffled": Ingredient("planted: targets shuffled among the rows in 60% of the tasks", _shuffled(0.6)),
    PLANTED: Ingredient("planted: targets shuffled in all tasks, so that there is nothing to learn", _shuffled(1.0)),
    CONTROL: Ingredient("nothing but chance: other tasks of the full mixture", lambda task: OtherDraws(_full(task))),
    "only-scm": Ingredient("structural causal models alone", _only("scm")),
    "no-scm": Ingredient("without structural causal models", _without("scm")),
    "no-function": Ingredient("without functions of columns that are drawn first", _without("function")),
    "no-trees": Ingredient("without trees and rules, and no trees among the functions of columns", _no_trees),
    "no-noise": Ingredient(
        "targets almost without noise: no flips, no outliers, hardly a label left to chance",
        _effects(EffectsWithout(_NOISE), Resolution(), target=_CERTAIN),
    ),
    "no-effects": Ingredient("no table effects and no rounding", _effects(TableEffects(amount=0.0), _NO_ROUNDING)),
    "no-filter": Ingredient("tasks that cannot be learnt are kept", _mixture(learnable=False)),
    "no-gaps": Ingredient("no missing cells", _effects(EffectsWithout(_GAPS), Resolution(), missing=0.0)),
    "no-mlp": Ingredient("without random networks", _without("mlp")),
    "few-rare-classes": Ingredient(
        "two classes are cut at 30% or more where they are cut unevenly, and no class is made rare",
        _effects(EffectsWithout((shift.ClassImbalance,)), Resolution(), target=_FEW_RARE),
    ),
    "no-resolution": Ingredient("numbers keep all their digits", _effects(TableEffects(), _NO_ROUNDING)),
    "drift": Ingredient("queries later than their context in 25%", _effects(TableEffects(drift=0.25), Resolution())),
    "more-families": Ingredient("levels and spectra in 15% of the batches", _further),
    "no-needless-columns": Ingredient(
        "no irrelevant, collinear and copied columns added", _effects(EffectsWithout(_NEEDLESS), Resolution())
    ),
    "no-additive": Ingredient("without sums of curves", _without("additive")),
    "no-clusters": Ingredient("without clusters", _without("clusters")),
    "no-crossed": Ingredient("without crossed levels", _without("crossed")),
}

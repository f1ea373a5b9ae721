"""More of the tasks on which classical models beat the network: weights of a mixture that follow its weak spots.

Source:
    Adversarial choice of prior parameters for tabular in-context learners (2025), arXiv:2512.03307; there parameters
    move along a gradient, here the weights of a mixture's families by the measured gap.

Dimension key: B tasks, N context rows, M query rows, T targets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import lightning as L
import torch
from torch import Tensor

from icl.network.metrics import predictive
from icl.network.model import TabularTransformer
from priors import MixturePrior, Prior, TaskBatch, TaskShape, leave_out
from priors.extra_trees import extra_trees
from priors.stream import one_thread, seeded_generator

_TRIAL = 7  # of the key of its tasks, which no training step draws
_AHEAD = 2  # steps whose tasks a loader may have made already
_END = 2**62  # the step that validation asks for
SHAPE = TaskShape(n_tasks=6, n_rows=256, n_context=192, n_features=8)
"""Of the tasks on which network and rivals meet."""


@dataclass
class Decisions:
    """From which step on which gaps count; shared by the priors of a run and its callback."""

    made: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def at(self, step: int) -> dict[str, float]:
        """The gaps by which tasks of this step are weighed."""
        return next((gaps for first, gaps in reversed(self.made) if first <= step), {})


@dataclass(frozen=True)
class Weighed:
    """A mixture whose weights follow decisions: times exp(strength x gap), from a third to three."""

    mixture: MixturePrior
    decisions: Decisions
    strength: float

    def at_step(self, step: int) -> MixturePrior:
        mixture, gaps = self.mixture.at_step(step), self.decisions.at(step)
        if step >= _END or not gaps:
            return mixture  # what is validated on stays the same
        assert mixture.weights is not None  # resolved when it was made
        factors = [min(3.0, max(1 / 3, math.exp(self.strength * gaps.get(name, 0.0)))) for name in families_of(mixture)]
        return replace(mixture, weights=[w * f for w, f in zip(mixture.weights, factors, strict=True)])

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        return self.mixture.sample(shape, generator)


class AdversarialWeights(L.Callback):
    """Every so many steps, network and rivals answer new tasks of each family; families where rivals win weigh more.

    The gap is that of the shares of squared error removed, averaged over checks. What was decided lies in the
    checkpoint and counts from two steps later on, when no task has been made ahead: a resumed run goes on as one that
    was never stopped.

    Args:
        every: steps between checks.
        strength: how steeply weights follow gaps; 10 doubles them at a gap of .07.
        memory: share of the average that the past keeps.
    """

    def __init__(self, every: int = 500, strength: float = 10.0, memory: float = 0.7):
        if every < 2 or strength < 0 or not 0 <= memory < 1:
            raise ValueError(
                f"every must be at least 2, strength not negative and memory in [0, 1); got {every}, {strength} and "
                f"{memory}."
            )
        self.every, self.strength, self.memory = every, strength, memory
        self.decisions = Decisions()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        if data.num_workers or data.folders or data.draws_together > 1:
            raise ValueError(
                "adversarial weights need tasks that are made step by step in the trainer's own process: set "
                "--data.num_workers 0 and --data.draws_together 1, and no --data.folders."
            )
        data.priors = [
            Weighed(prior, self.decisions, self.strength) if isinstance(prior, MixturePrior) else prior
            for prior in data.priors
        ]

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        step = trainer.global_step
        if step == 0 or step % self.every or any(first == step + _AHEAD for first, _ in self.decisions.made):
            return
        past = self.decisions.at(step)
        found: dict[str, float] = {}
        for prior in trainer.datamodule.priors:
            if not isinstance(prior, Weighed):
                continue
            for name, family in families_of(prior.mixture.at_step(step)).items():
                if name in found:
                    continue
                # The same tasks in every process; the answer of the first counts, for the last bit may differ.
                g = seeded_generator(trainer.datamodule.seed, step, _TRIAL, len(found))
                with one_thread():
                    trial = family.sample(SHAPE, g).to(pl_module.device)
                    now = trainer.strategy.broadcast(gap(pl_module.trained, trial, g))
                found[name] = self.memory * past.get(name, now) + (1 - self.memory) * now
                pl_module.log(f"gap/{name}", found[name], on_step=True)
        self.decisions.made[:] = [*self.decisions.made[-1:], (step + _AHEAD, found)]

    def state_dict(self) -> dict[str, Any]:
        return {"made": [[first, gaps] for first, gaps in self.decisions.made]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.decisions.made[:] = [(first, dict(gaps)) for first, gaps in state_dict["made"]]


def families_of(prior: MixturePrior) -> dict[str, Prior]:
    """Each component of a mixture as a mixture of its own, by name and kind."""
    assert prior.components is not None  # resolved when it was made
    return {
        f"{type(part).__name__.removesuffix('Prior').lower()}-{getattr(part, 'task', '')}-{k}": replace(
            prior, components=[part], weights=[1.0], final_weights=None
        )
        for k, part in enumerate(prior.components)
    }


@torch.no_grad()
def gap(model: TabularTransformer, batch: TaskBatch, generator: torch.Generator) -> float:
    """How much more of the squared error of the context's mean the better of two rivals removes than the network.

    Over all tasks of the batch: for numbers in units of each task's spread, for classes of their indicators.
    """
    device = batch.X.device
    if batch.n_classes is None:
        center, scale = batch.y_context.mean(1, keepdim=True), batch.y_context.std(1, keepdim=True).clamp_min(1e-9)
        Y_BRT = ((batch.y - center) / scale).clamp(-10, 10).double()[..., None]
        n_tried = batch.X.shape[2]
    else:
        Y_BRT = torch.nn.functional.one_hot(batch.y, int(batch.n_classes.max())).double()
        n_tried = max(1, round(math.sqrt(batch.X.shape[2])))
    N = batch.n_context
    mean_B1T = Y_BRT[:, :N].mean(1, keepdim=True)
    own = generator if generator.device == device else torch.Generator(device).manual_seed(generator.initial_seed())
    smooth_BRT = leave_out.kernel(leave_out.design_of(batch), Y_BRT[:, :N] - mean_B1T, own).rows_BRT + mean_B1T
    forest_BRT = extra_trees(batch.X, Y_BRT[:, :N].float(), n_tried, 24, own).double()
    scores = model(batch.X, batch.y_context, batch.is_categorical, batch.n_classes).float()
    if batch.n_classes is None:
        ours_BMT = (
            ((predictive(scores, batch.y_context, None).mean - center) / scale).clamp(-10, 10).double()[..., None]
        )
    else:
        ours_BMT = predictive(scores, batch.y_context, batch.n_classes).probs[..., : Y_BRT.shape[2]].double()

    def error(answer_BMT: Tensor) -> Tensor:
        return (Y_BRT[:, N:] - answer_BMT).square().sum((1, 2))

    null_B = error(mean_B1T).clamp_min(1e-9)
    rival_B = torch.minimum(error(smooth_BRT[:, N:]), error(forest_BRT[:, N:]))
    return float(((error(ours_BMT) - rival_B) / null_B).clamp(-1, 1).mean())

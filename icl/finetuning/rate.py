"""The learning rate by default: three short runs from the checkpoint, judged by their loss on the held-out tables.

A grid of short runs rather than a range test (one run whose rate grows): each rate starts from the same weights and
sees the same tasks, so the losses compare like with like, while a range test blames a rate for what earlier ones did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from icl.finetuning.config import FinetuneConfig
from icl.finetuning.held_out import losses, score
from icl.finetuning.method import RATES, Anchor, make_optimizer, make_trainable, merged_state, rates
from icl.network.model import TabularTransformer
from icl.training.pretraining import task_loss
from icl.training.stream import TaskStream
from icl.training.validation import ValidationItem
from priors import TaskBatch

SHARE = 6
"""A short run is this many times shorter than the run itself."""
_FEWEST_STEPS = 10
_CLIP = 1.0


@dataclass(frozen=True)
class Trial:
    lr: float
    loss: float
    """Mean held-out loss at the end, nats per query."""


def step_loss(model: TabularTransformer, batches: Sequence[TaskBatch], config: FinetuneConfig) -> torch.Tensor:
    """Loss of one step: the first `batch_tables` batches are of tables, the others replay the prior."""
    of_tables = [task_loss(model, b) for b in batches[: config.batch_tables]]
    loss = torch.stack(of_tables).mean()
    replayed = [task_loss(model, b) for b in batches[config.batch_tables :]]
    if not replayed:
        return loss
    return (1 - config.replay) * loss + config.replay * torch.stack(replayed).mean()


def short_run(
    model: TabularTransformer, stream: TaskStream, config: FinetuneConfig, lr: float, steps: int
) -> TabularTransformer:
    """Train `model` in place over steps 0 .. `steps` of the stream, as the long run would, in a plain loop.

    Returns the model. Stops early, with the weights it has, if the loss is no number.
    """
    make_trainable(model, config)
    optim = rates(config, lr, steps)
    optimizer, anchor = make_optimizer(model, config, optim), Anchor(model, config.l2_sp)
    moving = [p for p in model.parameters() if p.requires_grad]
    peaks = [group["lr"] for group in optimizer.param_groups]
    model.train()
    for step in range(steps):
        factor = optim.rate_at(step, steps)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        batches = [b.to(moving[0].device) for b in stream.at(step)]
        loss = step_loss(model, batches, config)
        if not torch.isfinite(loss):
            break
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(moving, _CLIP)
        optimizer.step()
        anchor.pull(model, optim.lr_adamw * factor)
    return model.eval()


def find_rate(
    start: Callable[[], TabularTransformer],
    stream: TaskStream,
    items: Sequence[ValidationItem],
    config: FinetuneConfig,
    report: Callable[[str], None],
) -> tuple[float, list[Trial]]:
    """The rate of `RATES` whose short run ends best, the smallest if all end worse than they began.

    Args:
        start: gives a fresh copy of the checkpoint's model.
        items: held-out tasks.
        report: told of each run.
    """
    steps = max(_FEWEST_STEPS, config.steps // SHARE)
    before = score(losses(start(), items))
    trials = []
    for lr in RATES:
        model = short_run(start(), stream, config, lr, steps)
        plain = start()
        plain.load_state_dict(merged_state(model))
        trials.append(Trial(lr, score(losses(plain, items))))
        report(f"rate {lr:g}: held-out loss {before:.4f} -> {trials[-1].loss:.4f} after {steps} steps")
    best = min(trials, key=lambda t: t.loss if t.loss == t.loss else float("inf"))
    return (best.lr if best.loss < before else RATES[0]), trials

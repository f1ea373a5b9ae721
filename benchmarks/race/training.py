"""Training side by side for a budget of processor seconds, and the loss on held-out tasks."""

from __future__ import annotations

import io
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import nn

from benchmarks.race.candidates import Candidate
from icl.atomic import write_atomically
from icl.training.optim import OptimConfig
from icl.training.pretraining import task_loss
from icl.training.steps import sample_step
from priors import MixturePrior, ShapeSampler

# Processor seconds and a share of the budget, not steps: a slow candidate makes fewer steps in the same schedule.
WARM_UP_S, DECAY = 20.0, 0.3
CLIP = 2.0
# No training run uses this seed by accident.
VALIDATION_SEED = 2**31


@dataclass(frozen=True)
class Recipe:
    """What all candidates share, read from a configuration of `train.py`."""

    sizes: dict[str, int]
    optim: OptimConfig
    priors: list[MixturePrior]
    shapes: ShapeSampler

    @classmethod
    def read(cls, path: Path, n_cells: int | None = None) -> Recipe:
        """That of `path`, with `n_cells` cells a batch if given."""
        config = yaml.safe_load(path.read_text())
        model, data = config["model"], config["data"]
        shapes = {k: tuple(v) if isinstance(v, list) else v for k, v in data["shapes"].items()}
        if n_cells is not None:
            shapes["n_cells"] = n_cells
        unknown = [p["class_path"] for p in data["priors"] if p["class_path"] != "priors.MixturePrior"]
        if unknown:
            raise ValueError(f"the race trains on priors.MixturePrior, but {path} lists {', '.join(unknown)}.")
        return cls(
            sizes=model["model"],
            optim=OptimConfig(**{k: v if isinstance(v, int) else float(v) for k, v in model["optim"].items()}),
            priors=[MixturePrior(**p.get("init_args", {})) for p in data["priors"]],
            shapes=ShapeSampler(**shapes),
        )


def rate_at(used: float, budget: float) -> float:
    """Multiplier of the peak rates after `used` of `budget` seconds: warm-up, constant, linear decay to 0."""
    return min(1.0, used / WARM_UP_S + 0.01, max(0.0, (1 - used / budget) / DECAY))


class Run:
    """One candidate on its way: the network, its optimiser and what it has used so far."""

    def __init__(self, name: str, candidate: Candidate, recipe: Recipe, seed: int):
        self.name, self.recipe, self.seed = name, recipe, seed
        self.model = candidate.build(recipe.sizes, seed).train()
        self.optimizer = candidate.optimizer(self.model, recipe.optim)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.cpu_s, self.n_tasks, self.losses = 0.0, 0, []

    def step(self, rate: float) -> None:
        """One update: sample tasks, forward, backward. Each candidate reads the same stream from its beginning."""
        started = time.process_time()
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * rate
        batches = sample_step(self.recipe.priors, self.recipe.shapes, self.seed, len(self.losses))
        loss = torch.stack([task_loss(self.model, batch) for batch in batches]).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP, error_if_nonfinite=True)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.losses.append(loss.item())
        self.n_tasks += sum(batch.shape.n_tasks for batch in batches)
        self.cpu_s += time.process_time() - started

    def save(self, folder: Path, budget: float) -> None:
        """Write all that `resume` needs, whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": [self.cpu_s, self.n_tasks, self.losses],
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        before, after = self._files(folder, budget)
        write_atomically(before if self.cpu_s <= (1 - DECAY) * budget else after, buffer.getvalue())

    def resume(self, folder: Path, budget: float) -> None:
        """Go on where `save` was, if it was called.

        Before its decay a run is the same for all budgets: a race can be cut short, and a finished one extended.
        """
        before, after = self._files(folder, budget)
        for file, limit in ((after, math.inf), (before, (1 - DECAY) * budget)):
            if not file.exists():
                continue
            state = torch.load(file, weights_only=True)
            if state["progress"][0] <= limit:
                self.model.load_state_dict(state["model"])
                self.optimizer.load_state_dict(state["optimizer"])
                self.cpu_s, self.n_tasks, self.losses = state["progress"]
                return

    def _files(self, folder: Path, budget: float) -> tuple[Path, Path]:
        """Where the state lies before and after the decay begins."""
        return folder / f"{self.name}-{self.seed}.ckpt", folder / f"{self.name}-{self.seed}-{budget:g}s.ckpt"

    def facts(self) -> dict[str, float]:
        """Parameters, steps, tasks, cpu_s, and train_loss: nats per query, mean over the last tenth of the steps."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return {
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "steps": len(self.losses),
            "tasks": self.n_tasks,
            "cpu_s": self.cpu_s,
            "train_loss": sum(last) / len(last),
        }


def train(runs: list[Run], budget: float, folder: Path | None = None, log=print) -> None:
    """Train all `runs` side by side until each has used its budget; the models end in evaluation mode.

    Every step goes to the run that has used least, so that all meet the same load on the machine at the same time.

    Args:
        runs: fresh ones, or such as `resume` brought back.
        budget: seconds that each run may keep a processor busy, with one torch thread: tasks, forward, backward and
            updates. Other jobs on the machine cost it little.
        folder: where to `save` all runs once a minute.
        log: called with a line of text now and then.
    """
    said = time.monotonic()
    while (run := min(runs, key=lambda r: r.cpu_s)).cpu_s < budget:
        run.step(rate_at(run.cpu_s, budget))
        if time.monotonic() - said > 60:
            said = time.monotonic()
            log("; ".join(f"{r.name} {len(r.losses)} steps, {r.cpu_s:.0f} s, {_recent(r):.3f}" for r in runs))
            for each in runs if folder is not None else ():
                each.save(folder, budget)
    for run in runs:
        run.model.eval()


def _recent(run: Run) -> float:
    last = run.losses[-50:] or [math.nan]
    return sum(last) / len(last)


@torch.inference_mode()
def validate(model: nn.Module, recipe: Recipe, n_steps: int = 24) -> dict[str, float]:
    """Mean loss (nats per query) on tasks that no candidate trains on, the same for all."""
    losses: dict[str, list[float]] = {"val_clf": [], "val_reg": []}
    for step in range(n_steps):
        for batch in sample_step(recipe.priors, recipe.shapes, VALIDATION_SEED, step):
            losses["val_reg" if batch.n_classes is None else "val_clf"].append(task_loss(model, batch).item())
    return {name: sum(values) / len(values) for name, values in losses.items() if values}

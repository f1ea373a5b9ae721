"""Pretraining: the loss, what a run costs and how fast it goes, validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from icl.network.config import TabularConfig
from icl.network.grow import grow
from icl.network.metrics import query_losses
from icl.network.model import TabularTransformer
from icl.network.reader import Model
from icl.releases.folder import load_release
from icl.releases.provenance import origin_of
from icl.releases.seen import refuse_tuned
from icl.training.compiled import compile_blocks, pays_on
from icl.training.cost import mean_cost, training_cost
from icl.training.counted import CountedModule
from icl.training.gradients import mean_loss
from icl.training.optim import OptimConfig
from icl.training.precision import refuse_precision
from icl.training.throughput import Meter, peak_flops
from icl.training.totals import add
from icl.training.validation import KINDS, ValidationItem, fits, kind_of, real_metrics
from priors import TaskBatch

_STEPS_BEFORE_ESTIMATE = 20


def task_loss(model: Model, batch: TaskBatch, forward: Callable[..., Tensor] | None = None) -> Tensor:
    """Mean negative log mass (nats per query) of the true class, or of the bin that holds the true target.

    Args:
        model: whose loss it is.
        batch: tasks with the targets of their query rows.
        forward: what to call in place of `model`.
    """
    scores = (forward or model)(batch.X, batch.y_context, batch.is_categorical, batch.n_classes)
    # Under autocast scores are bf16, and the edges and scales below would follow: 8 bits cannot tell bins apart.
    scores = scores.float() if scores.dtype is torch.bfloat16 else scores
    return query_losses(scores, batch.y_context, batch.y_query, batch.n_classes, reduction="mean")


class PretrainingModule(CountedModule):
    """Trains a `TabularTransformer` on the batches of a `TaskStream`.

    Args:
        model: fields of `TabularConfig`.
        optim: optimiser and schedule.
        init_seed: seed of the initial weights.
        init_from: a release to start from instead, such as `checkpoints/nano`; it may have fewer layers and be narrower
            (`icl.network.grow`). A resumed run needs it no more.
        compile: compile the blocks of the network for training, once for all shapes of tasks; default: on a GPU that
            can (`icl.training.compiled`).
        peak_tflops: what one device can do at best, for the logged utilisation; default: looked up for known GPUs,
            measured on a CPU.
    """

    bar_metrics = frozenset({"val/classification_loss", "val/regression_loss"})

    def __init__(
        self,
        model: dict[str, int] | None = None,
        optim: OptimConfig = OptimConfig(),  # noqa: B008 - frozen
        init_seed: int = 0,
        init_from: str | None = None,
        compile: bool | None = None,
        peak_tflops: float | None = None,
    ):
        super().__init__(optim)
        self.peak_tflops = peak_tflops
        self.ancestor: dict | None = None
        self._no_start: Exception | None = None
        config = TabularConfig(**(model or {}))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init_seed)
            self.model = TabularTransformer(config)
            if init_from is not None:
                try:
                    self.model = grow(load_release(init_from), config)
                    self.ancestor = origin_of(init_from)
                    refuse_tuned(init_from)
                except (OSError, ValueError) as error:
                    self._no_start = error  # does not matter if the run is resumed
        self.compile_wanted, self._is_compiled = compile, False
        self._meter, self._matmul_bytes = Meter(), 4
        self._peak: float | None = None
        self._lacked: list[str] | None = None  # kinds of target that no process saw in its first step
        self._without: list[torch.nn.Parameter] = []
        self._told_time = False

    @property
    def trained(self) -> TabularTransformer:
        return self.model

    def setup(self, stage: str) -> None:
        if stage != "fit":
            return
        trainer = self.trainer
        if trainer.accumulate_grad_batches != 1:
            raise ValueError(
                f"accumulate_grad_batches must be 1, got {trainer.accumulate_grad_batches}: step k of a run is step k "
                f"of the stream. For larger steps set --data.n_virtual_ranks or --data.shapes.n_cells."
            )
        refuse_precision(trainer.precision)
        widest = getattr(getattr(trainer, "datamodule", None), "most_features", 0)
        if widest > self.model.config.max_features:
            raise ValueError(
                f"tasks may have {widest} features and the model is for {self.model.config.max_features}: lower "
                f"--data.shapes.features (and max_features of --data.companions) or raise max_features of "
                f"--model.model."
            )

    def on_fit_start(self) -> None:
        if self._no_start is not None:
            raise self._no_start
        # Not in `setup`, where the weights still lie on the CPU.
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32 where autocast leaves float32
        self._is_compiled = pays_on(self.device) if self.compile_wanted is None else self.compile_wanted
        if self._is_compiled:
            compile_blocks(self.model)

    def on_train_start(self) -> None:
        mixed = "bf16" in str(self.trainer.precision)
        self._matmul_bytes = 2 if mixed else 4
        known = self.peak_tflops and 1e12 * self.peak_tflops
        self._peak = known or peak_flops(self.device, torch.bfloat16 if mixed else torch.float32)
        self._announce()

    def _announce(self) -> None:
        """Say what the run will cost, before it does."""
        trainer = self.trainer
        data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        n_parameters = sum(p.numel() for p in self.model.parameters())
        lines = [f"{n_parameters:,} parameters"]
        if not data.folders:
            keeps = self.device.type == "cpu" and self._matmul_bytes == 2
            step, largest = mean_cost(self.model.config, data.shapes, data.n_batches, self._matmul_bytes, keeps)
            total = step * trainer.world_size
            lines.append(
                f"a step: {total.tables:,.0f} tables, {total.tokens:,.0f} tokens, {total.flops / 1e9:,.1f} GFLOP "
                f"({total.flops / total.tables / 1e9:.2f} a table) on {trainer.world_size} process(es)"
            )
            if trainer.max_steps > 0:
                left = trainer.max_steps - trainer.global_step
                lines.append(
                    f"{left:,} steps to go: {left * total.tables:,.0f} tables, {left * total.flops / 1e15:,.2f} PFLOP"
                )
            lines.append(
                f"memory of each process: activations {step.activation_bytes / data.n_batches / 1e6:,.0f} MB in the "
                f"mean batch, {largest.activation_bytes / 1e6:,.0f} MB at most; weights, gradients and averages "
                f"{n_parameters * 28 / 1e6:,.0f} MB"
            )
        peak = "unknown (set --model.peak_tflops)" if self._peak is None else f"{self._peak / 1e12:,.2f} TFLOP/s"
        compiled = "; blocks compiled" if self._is_compiled else ""
        lines.append(f"precision: {trainer.precision}; peak of the device in it: {peak}{compiled}")
        rank_zero_info("Cost: " + "\n      ".join(lines))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        for name, parameter in self.model.named_parameters():
            if not parameter.isfinite().all():
                raise FloatingPointError(f"weight {name} is not finite, and is not saved.")
        super().on_save_checkpoint(checkpoint)
        checkpoint["model_config"] = self.model.config.to_dict()
        checkpoint["ancestor"] = self.ancestor

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """A resumed run needs no release to start from."""
        super().on_load_checkpoint(checkpoint)
        self._no_start = None
        self.ancestor = checkpoint.get("ancestor", self.ancestor)

    def training_step(self, batches: list[TaskBatch], batch_idx: int) -> Tensor:
        mean, losses = mean_loss(lambda batch: task_loss(self.model, batch), batches, list(self.model.parameters()))
        self.log_by_kind("loss", losses, batches)
        self.count(batches)
        return mean + self._unread(batches)

    def _unread(self, batches: Sequence[TaskBatch]) -> Tensor | float:
        """0 of the parameters that no batch reads, for processes that wait for a gradient of every parameter."""
        if self.trainer.world_size == 1:
            return 0.0
        kinds = {kind_of(batch) for batch in batches}
        if self._lacked is None:
            self._lacked = [kind for kind in KINDS if not self._anywhere(kind in kinds)]
        # What is read nowhere keeps no gradient, as in a single process: else its weights would decay.
        self._without = [
            p for kind in self._lacked if not self._anywhere(kind in kinds) for p in self.model.parts_of(kind)
        ]
        unread = [p for kind in KINDS if kind not in kinds for p in self.model.parts_of(kind)]
        return 0.0 if not unread else 0.0 * torch.stack([p.sum() for p in unread]).sum()

    def _anywhere(self, here: bool) -> bool:
        """Whether so in any process; a collective call."""
        return self.trainer.strategy.reduce_boolean_decision(here, all=False)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        for parameter in self._without:
            parameter.grad = None
        super().on_before_optimizer_step(optimizer)

    def count(self, batches: Sequence[TaskBatch]) -> None:
        config = self.model.config
        costs = [training_cost(config, b.shape, b.n_classes is None, self._matmul_bytes) for b in batches]
        self._meter.step(sum(costs[1:], costs[0]))
        super().count(batches)
        for name, value in self._meter.rates(self._peak, self.trainer.world_size).items():
            self.log(name, value, on_step=True, prog_bar=name == "tables_per_s")
        if self._meter.n_steps >= _STEPS_BEFORE_ESTIMATE and not self._told_time:
            self._told_time = True
            self._announce_time()

    def _announce_time(self) -> None:
        seconds, max_steps = self._meter.seconds_per_step, self.trainer.max_steps
        message = f"Speed: {seconds:.2g} s a step"
        if max_steps > 0:
            left = timedelta(seconds=round(seconds * (max_steps - self.global_step)))
            message += f"; {max_steps - self.global_step:,} steps to go take {left}, validation not counted"
        rank_zero_info(message)

    def validation_step(self, item: ValidationItem, batch_idx: int) -> None:
        # Callbacks have swapped in the averaged weights by now, if there are any.
        batch, weight = item.batch, 1.0
        if not item.name:
            return
        with torch.autocast(self.device.type, enabled=False):  # as the model will be used
            if not item.is_real:
                metrics, weight = {f"{kind_of(batch)}_loss": float(task_loss(self.model, batch))}, batch.shape.n_tasks
            else:
                metrics = real_metrics(self.model, batch) if fits(self.model, batch) else {}
        for metric, value in metrics.items():
            add(self.totals, f"{item.name}/{metric}", value, weight)

    def on_validation_end(self) -> None:
        self._meter.pause()

"""What a fine-tuning run is asked to do: one frozen dataclass, a field an option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from icl.tables.reading import Reading, read_words

TASKS = ("auto", "classification", "regression")
METHODS = ("full", "last_blocks", "lora")


Task = Literal["auto", "classification", "regression"]


@dataclass(frozen=True)
class FinetuneConfig(Reading):
    """Options of `icl.finetune`, and how its files are read."""

    target: str | None = None
    """Column to predict in every table; without it any usable one is, another one in each task (self-supervised)."""
    task: Task = "auto"
    """What the target is; "auto" takes text, truth values and up to ten whole numbers for classes."""
    ignore: tuple[str, ...] | str = ()
    """Columns, in text separated by commas, that are left out of every table that has them, such as identifiers."""
    held_out: tuple[str, ...] | str = ()
    """Tables to validate on; default: `validation_share` of them at random, rows if there are under three."""
    validation_share: float = 0.2
    """Share of the tables (of the rows, if there are under three tables) that is held out for validation."""
    method: Literal["full", "last_blocks", "lora"] = "full"
    """Which weights move: all; those of the last `n_blocks` blocks and the heads; or low-rank additions to the
    matrices of all blocks, merged into them at the end."""
    n_blocks: int = 2
    """Of "last_blocks"."""
    lora_rank: int = 8
    """Of "lora": rank of the addition to each matrix."""
    steps: int = 200
    """Optimiser steps at most; early stopping may end the run before."""
    lr: float | None = None
    """Peak learning rate; None: the best of three short runs by their loss on the held-out tables."""
    replay: float = 0.25
    """Weight of tasks from the synthetic prior in the loss, against forgetting; 0 for none."""
    l2_sp: float = 10.0
    """Pull of the weights back to those of the checkpoint, per step and in units of the learning rate (L2-SP)."""
    batch_tables: int = 2
    """Batches of a step that come from the tables."""
    n_cells: int = 4_000
    """Cells (tasks x rows x columns) of a batch at least; a larger task is a batch of its own."""
    max_rows: int = 800
    """Rows of a task at most, context and query together."""
    check_every: int = 20
    """Steps between two validations."""
    patience: int = 4
    """Validations without a new best after which the run ends."""
    seed: int = 0
    """Of the held-out choice and the stream of tasks."""
    device: str = "auto"
    """Lightning's accelerator: "auto", "cpu", "gpu", ..."""
    n_devices: int = 1
    """Processes that train together, one a device (DDP); each takes its own tasks."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("ignore", "held_out"):
            object.__setattr__(self, name, read_words(getattr(self, name)))
        for name, known in (("task", TASKS), ("method", METHODS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")
        for name in (
            "n_blocks", "lora_rank", "steps", "batch_tables", "n_cells", "check_every", "patience", "n_devices",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}.")
        if self.max_rows < 32:
            raise ValueError(f"max_rows must be at least 32, so that context and query exist; got {self.max_rows}.")
        if not 0 < self.validation_share < 1:
            raise ValueError(f"validation_share is a fraction in (0, 1), got {self.validation_share}.")
        if not 0 <= self.replay < 1:
            raise ValueError(f"replay is a fraction of the loss in [0, 1), got {self.replay}.")
        if self.l2_sp < 0:
            raise ValueError(f"l2_sp must not be negative, got {self.l2_sp}.")
        if self.lr is not None and self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}; None lets short runs choose.")

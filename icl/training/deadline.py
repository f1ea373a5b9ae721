"""Training that ends on time, its rate fallen to 0 by then: for machines that are lent by the minute."""

from __future__ import annotations

import math
import time
from collections import deque

import lightning as L


class Deadline(L.Callback):
    """Sets `max_steps` to what fits into the time that is left, at the pace of the last steps, after every step.

    The schedule reads `max_steps` at each step: the rate falls over the last `decay_share` of the run as it would had
    the number of steps been known. Belongs before callbacks that act on the last step (`FinishStepOnInterrupt`).

    Args:
        minutes: from the first step, whose compilation counts, to the last.
        window: steps of which the pace is taken. 64 hold one draw of `--data.draws_together 8`.
    """

    def __init__(self, minutes: float, window: int = 64):
        if minutes <= 0 or window < 1:
            raise ValueError(f"minutes must be positive and window at least 1, got {minutes} and {window}.")
        self.minutes = minutes
        self._ends: deque[float] = deque(maxlen=window + 1)
        self._last = math.inf

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        now = time.monotonic()
        self._last = now + 60 * self.minutes
        self._ends.clear()
        self._ends.append(now)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs, batch, batch_idx) -> None:
        self._ends.append(time.monotonic())
        steps = trainer.global_step + self.steps_left()
        if trainer.world_size > 1:
            steps = trainer.strategy.broadcast(steps)  # all leave after the same step
        trainer.fit_loop.epoch_loop.max_steps = steps

    def steps_left(self) -> int:
        """Steps that fit into the time that is left."""
        pace = (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
        return max(0, math.floor((self._last - self._ends[-1]) / max(pace, 1e-6)))

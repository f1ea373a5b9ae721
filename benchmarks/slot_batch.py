"""Which batch pays on a device: each size is trained for some seconds through the trainer itself."""

from __future__ import annotations

import gc
import signal
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch

from icl.training.configuration import built, overlaid
from icl.training.stream import TaskDataModule

ORDINARY = 3.0  # times the median step; what takes longer compiles, or warms up
NEARLY = 0.9


@dataclass(frozen=True)
class Trial:
    """What a batch size brought."""

    n_cells: int
    compiled: bool
    tables_per_s: float = 0.0
    """The tasks' making included, in the share that each step has of a draw."""
    tables_per_step: float = 0.0
    seconds_per_step: float = 0.0
    seconds_per_draw: float = 0.0
    seconds_lost: float = 0.0
    """To compiling and warming up."""
    memory: int = 0
    """Bytes at most, of an accelerator."""
    error: str = ""

    def __str__(self) -> str:
        way = "compiled" if self.compiled else "eager"
        if self.error:
            return f"{self.n_cells:,} cells, {way}: {self.error}"
        return (
            f"{self.n_cells:,} cells, {way}: {self.tables_per_s:,.1f} tables/s, {self.seconds_per_step:.3f} s a step "
            f"of {self.tables_per_step:,.0f} tables, {self.seconds_per_draw:.1f} s a draw, {self.seconds_lost:.1f} s "
            f"lost, {self.memory / 2**30:.1f} GiB"
        )


class Pace(L.Callback):
    """Stops after so many seconds of ordinary steps, and remembers them.

    Args:
        seconds: of ordinary steps.
        n_least: steps at least.
    """

    def __init__(self, seconds: float, n_least: int = 4):
        self.seconds, self.n_least = seconds, n_least
        self.steps: list[tuple[float, int]] = []
        self.draw = 0.0
        self._last = time.perf_counter()

    def on_train_start(self, trainer, pl_module) -> None:
        self._last = time.perf_counter()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if batch_idx == 0:  # the first draw is made before it
            self.draw = self._since(pl_module.device)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.steps.append((self._since(pl_module.device), sum(len(part.X) for part in batch)))
        ordinary = self.ordinary()
        trainer.should_stop = len(ordinary) >= self.n_least and sum(s for s, _ in ordinary) >= self.seconds

    def _since(self, device: torch.device) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        before, self._last = self._last, time.perf_counter()
        return self._last - before

    def ordinary(self) -> list[tuple[float, int]]:
        """Steps that neither compiled nor warmed up: the first one, and those far above the median, do not count."""
        if len(self.steps) < 2:
            return []
        limit = ORDINARY * statistics.median(seconds for seconds, _ in self.steps[1:])
        return [(seconds, tables) for seconds, tables in self.steps[1:] if seconds <= limit]


def sized(config: dict[str, Any], n_cells: int) -> dict[str, Any]:
    """The shapes of the configuration with batches of so many cells, and as many more tasks at most."""
    shapes = config["data"]["shapes"]
    return {"n_cells": n_cells, "max_tasks": max(1, round(shapes["max_tasks"] * n_cells / shapes["n_cells"]))}


def tried(config: dict[str, Any], n_cells: int, compiled: bool, seconds: float, limit: float = 0.0) -> Trial:
    """Train on batches of `n_cells` for `seconds`, giving up after `limit` seconds where that is not 0."""
    change = {
        "model": {"compile": compiled},
        "data": {"shapes": sized(config, n_cells)},
        "trainer": {"logger": False, "callbacks": [], "enable_checkpointing": False, "enable_model_summary": False},
    }
    pace = Pace(seconds)
    free_memory()
    try:
        with within(limit):
            run = built(overlaid(config, change), [pace])
            run.trainer.fit(run.module, run.data)
    except Exception as error:  # of CUDA's memory, of a compiler, of the clock: the slot goes on without this way
        return Trial(n_cells, compiled, error=f"{type(error).__name__}: {str(error)[:200]}")
    return measured(n_cells, compiled, pace, run.data)


def free_memory() -> None:
    """Let go of what an earlier run left: a trainer and its parts hold one another."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def measured(n_cells: int, compiled: bool, pace: Pace, data: TaskDataModule) -> Trial:
    ordinary = pace.ordinary()
    spent, tables = sum(s for s, _ in ordinary), sum(t for _, t in ordinary)
    draw = pace.draw / data.draws_together**2  # which makes the tasks of as many steps
    return Trial(
        n_cells,
        compiled,
        tables_per_s=tables / (spent + len(ordinary) * draw),
        tables_per_step=tables / len(ordinary),
        seconds_per_step=spent / len(ordinary),
        seconds_per_draw=pace.draw,
        seconds_lost=sum(s for s, _ in pace.steps) - spent,
        memory=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
    )


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """TimeoutError after so many seconds; 0 for no limit."""

    def ring(signum, frame):
        raise TimeoutError(f"not done in {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def choose(trials: Sequence[Trial], memory: float | None = None) -> Trial:
    """The smallest batch that is nearly as fast as the fastest within `memory`: it takes more steps in the same time.

    Raises:
        RuntimeError: if none ran.
    """
    fitting = [t for t in trials if not t.error and (memory is None or t.memory <= memory)]
    if not fitting:
        raise RuntimeError("no batch size ran: " + "; ".join(map(str, trials)))
    fastest = max(t.tables_per_s for t in fitting)
    return min((t for t in fitting if t.tables_per_s >= NEARLY * fastest), key=lambda t: t.n_cells)

"""Memory that training on CPUs keeps from step to step, where the allocator is jemalloc.

Activations come and go in a thousand sizes. What an allocator gives back to the system comes again as pages that the
kernel clears first (in a virtual machine its host, too: 3 ms for 2 MB), of a network of width 192 a fifth of the time,
whatever time jemalloc is told to wait: its forecast of what will be needed is thrown off by memory that is full before
backward and empty after it. So: nothing back, until a process holds a given amount; then everything that is free.

By itself jemalloc takes new memory for a small piece sooner than a part of a large free one, and what it holds grows by
.2 to .5 GB a step. `MALLOC_CONF=lg_extent_max_active_fit:30`, which only the environment can set, ends that.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import lightning as L
from lightning.pytorch.utilities import rank_zero_info

SHARE = 0.7
"""Of the memory that the processes of a machine may take together."""

_ALL_ARENAS = 4096  # MALLCTL_ARENAS_ALL in jemalloc's header
_NEVER = -1


class KeepMemory(L.Callback):
    """Keeps freed memory for the next step, up to a limit; does nothing where jemalloc does not serve the process.

    Args:
        most_gb: what a process may hold before all that is free goes back; default: SHARE of the machine's (or the
            container's) memory over the processes on it.
    """

    def __init__(self, most_gb: float | None = None):
        if most_gb is not None and most_gb <= 0:
            raise ValueError(f"most_gb must be positive, got {most_gb}.")
        self.most_gb = most_gb
        self._limit = 0.0
        self._control: Control | None = None  # a pointer, which cannot be pickled: found when training starts

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._control = jemalloc_control()
        if self._control is None:
            return
        self._limit = self.most_gb * 1e9 if self.most_gb else SHARE * memory_of_machine() / max(1, trainer.num_devices)
        never_give_back(self._control)
        rank_zero_info(f"Memory: jemalloc keeps what is freed, up to {self._limit / 1e9:.1f} GB in each process")

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs, batch, batch_idx) -> None:
        if self._control is not None and resident_bytes() > self._limit:
            give_back(self._control)


Control = Callable[..., int]


def jemalloc_control() -> Control | None:
    """jemalloc's `mallctl`, if the process has it and /proc tells what it holds."""
    if not Path("/proc/self/statm").exists():
        return None
    return getattr(ctypes.CDLL(None), "mallctl", None)


def never_give_back(control: Control) -> None:
    """For all arenas, those to come too."""
    n_arenas, size = ctypes.c_uint(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_uint))
    control(b"arenas.narenas", ctypes.byref(n_arenas), ctypes.byref(size), None, ctypes.c_size_t(0))
    never = ctypes.c_ssize_t(_NEVER)
    for state in ("dirty", "muzzy"):
        # Of an arena that is not in use yet this fails, and need not succeed: it begins as `arenas` says.
        for name in ["arenas", *(f"arena.{i}" for i in range(n_arenas.value))]:
            told = f"{name}.{state}_decay_ms".encode()
            control(told, None, None, ctypes.byref(never), ctypes.c_size_t(ctypes.sizeof(never)))


def give_back(control: Control) -> None:
    """All that is free, to the system."""
    control(f"arena.{_ALL_ARENAS}.purge".encode(), None, None, None, ctypes.c_size_t(0))


def resident_bytes() -> int:
    """What this process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_of_machine() -> int:
    """Bytes, or those of the container if it may have less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(machine, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        return machine

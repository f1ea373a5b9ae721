"""Jobs side by side on the threads of a CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

# n threads on one batch are taken to be n ** this times as fast as one, to choose between ways to deal. Measured for
# contexts of 500 to 3,000 rows on two cores: -0.2 to 0.64, and 0 under OMP_WAIT_POLICY=passive.
_THREADS_HELP = 0.5


def n_threads_of(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else 1


@dataclass(frozen=True)
class Job:
    """Work that one thread can do beside others: its relative cost, and bytes that it needs."""

    cost: float
    need: int
    run: Callable[[float], None]  # takes the bytes it may use


def spread(jobs: list[Job], free: float, device: torch.device) -> None:
    """Do all jobs: on a CPU side by side, as memory allows, the largest first.

    Two jobs on a thread each are faster than one after the other on two threads: nothing waits at the end of every
    operation. Jobs that would leave threads idle at the end are done alone, on all of them.
    """
    n_threads = n_threads_of(device)
    jobs = sorted(jobs, key=lambda job: -job.cost)
    most = max((job.need for job in jobs), default=1)
    n_workers = int(max(1, min(n_threads, len(jobs), free // most)))
    n_beside = _n_beside([job.cost for job in jobs], n_workers, n_threads) if n_workers > 1 else 0
    if n_beside:
        each = n_threads // n_workers
        try:
            with ThreadPoolExecutor(n_workers, initializer=functools.partial(torch.set_num_threads, each)) as pool:
                for done in [pool.submit(job.run, free / n_workers) for job in jobs[:n_beside]]:
                    done.result()
        finally:
            # The number is one of the thread, but threads to come take it from the last call.
            torch.set_num_threads(n_threads)
    for job in jobs[n_beside:]:
        job.run(free)


def _n_beside(costs: list[float], n_workers: int, n_threads: int) -> int:
    """How many of the jobs, the largest first, to do side by side so that all are done soonest."""

    def speed(n: int) -> float:
        return n**_THREADS_HELP

    loads, after, best = [0.0] * n_workers, sum(costs), (sum(costs) / speed(n_threads), 0)
    for k, cost in enumerate(costs, 1):
        loads[loads.index(min(loads))] += cost
        after -= cost
        best = min(best, (max(loads) / speed(n_threads // n_workers) + after / speed(n_threads), k))
    return best[1]


@functools.cache
def keep_heap() -> None:
    """Have glibc keep freed memory, once a process.

    It returns large blocks to the system at every free, and gets them back page by page at every allocation, until it
    has seen a larger one freed: attention ran at 27 GFLOP/s a core before and 87 after (516 rows).
    """
    torch.empty(2**22)

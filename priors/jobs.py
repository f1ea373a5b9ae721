"""Jobs that each write a file: one after the other, by processes of this machine, or by the workers of Ray."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import torch

ENGINES = ("local", "ray")


def run_jobs(work: Callable[..., int], jobs: list[tuple], workers: int, engine: str = "local") -> Iterator[int]:
    """What `work(*job)` returns, for each job as it is done.

    Args:
        workers: processes; with 0 the local engine works in this one, and Ray on all cores that it has.
    Raises:
        ValueError: for another engine, and where Ray is not installed, saying what to install.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(map(repr, ENGINES))}, got {engine!r}.")
    if engine == "ray":
        yield from _by_ray(work, jobs, workers)
    elif workers == 0:
        yield from (work(*job) for job in jobs)
    else:
        # Spawned rather than forked: torch's threads do not survive a fork.
        pool = ProcessPoolExecutor(min(workers, len(jobs) or 1), mp_context=torch.multiprocessing.get_context("spawn"))
        try:
            for future in as_completed([pool.submit(work, *job) for job in jobs]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _by_ray(work: Callable[..., int], jobs: list[tuple], workers: int) -> Iterator[int]:
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            "engine 'ray' needs Ray, which is not installed: pip install 'ray[data]>=2.40'. Without it, --workers N "
            "writes the same tasks with processes of this machine."
        ) from error
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    size = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    # A worker that dies is replaced, and its job is done anew: a file is there once it is whole.
    remote: Any = ray.remote(num_cpus=1, max_retries=3)(work)
    todo, running = list(reversed(jobs)), list[Any]()
    while todo or running:
        while todo and len(running) < size:
            running.append(remote.remote(*todo.pop()))
        [done], running = ray.wait(running, num_returns=1)
        yield ray.get(done)

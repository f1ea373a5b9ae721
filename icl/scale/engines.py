"""Ray, where it is installed; nothing here is imported before somebody asks for it."""

from __future__ import annotations

import logging
import os
from typing import Any

ENGINES = ("local", "ray")


def check_engine(engine: str) -> str:
    """The name of an engine; ValueError for another."""
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(map(repr, ENGINES))}, got {engine!r}.")
    return engine


def start(**options: Any) -> Any:
    """The module `ray`, started on this machine unless it runs already or RAY_ADDRESS names a cluster to join.

    Args:
        options: of `ray.init`, for a Ray of this machine.
    Raises:
        ValueError: saying what to install, where Ray is not.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ValueError(
            "engine='ray' needs Ray, which is not installed: pip install 'ray[data]>=2.40'. Without it, "
            "engine='local' gives the same answers on this machine."
        ) from error
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what fails is raised too
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **options)
    # Its plan and its progress, line by line, would drown ours.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


def n_cpus(ray: Any) -> int:
    """Cores that the cluster gives to workers."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))

"""Where weights come from: the commit, the versions, the run, the ancestors."""

from __future__ import annotations

import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from icl.releases.names import PROVENANCE, resolve_checkpoint

if TYPE_CHECKING:
    from icl.network.model import TabularTransformer


def version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def environment(model: TabularTransformer, dtype: torch.dtype) -> dict[str, Any]:
    packages = ("icl", "torch", "lightning", "transformers", "numpy")
    return {
        "git_commit": git_commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "stored_dtype": str(dtype).removeprefix("torch."),
        "versions": {"python": platform.python_version(), **{name: version_of(name) for name in packages}},
    }


def git_commit() -> str | None:
    """Commit of the source tree this runs from, with "-dirty" if tracked files differ; None outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def origin_of(release: str) -> dict:
    """What a model that starts from `release` owes to it: the facts of its training, its own ancestors included."""
    file = resolve_checkpoint(release) / PROVENANCE
    facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    kept = (
        "git_commit",
        "seed",
        "steps",
        "tasks_seen",
        "tasks_seen_in_all",
        "wall_seconds",
        "n_parameters",
        "init_from",
    )
    return {"release": release} | {name: facts[name] for name in kept if name in facts}

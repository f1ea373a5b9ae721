"""Where weights come from: the commit, the versions, the run, the ancestors."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from icl.releases.names import PROVENANCE, resolve_checkpoint
from icl.releases.reading import read_json

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


def read_provenance(name_or_path: str | os.PathLike | None = None) -> dict[str, Any]:
    """The facts that a release records; {} where it has none.

    Raises:
        CheckpointError: if there is no such release, or its record is damaged.
    """
    return provenance_in(resolve_checkpoint(name_or_path))


def provenance_in(folder: Path) -> dict[str, Any]:
    """The same, for a folder."""
    file = folder / PROVENANCE
    return read_json(file) if file.exists() else {}


def origin_of(release: str | os.PathLike) -> dict[str, Any]:
    """What a model that starts from `release` owes to it: the facts of its training, its own ancestors included."""
    facts = read_provenance(release)
    kept = (
        "git_commit",
        "seed",
        "steps",
        "tasks_seen",
        "tasks_seen_in_all",
        "wall_seconds",
        "n_parameters",
        "init_from",
        "average_of",
    )
    return {"release": shareable(release)} | {name: facts[name] for name in kept if name in facts}


def shareable(path: str | os.PathLike) -> str:
    """A path as a release may tell it: as it is below the working folder, else its last name.

    Where somebody's folders lie, and often what they are called, is nobody else's business.
    """
    path = Path(path)
    return path.name if path.is_absolute() or {"..", "~"} & set(path.parts) else path.as_posix()

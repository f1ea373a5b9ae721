"""What an earlier, longer run left where a new one will write: kept under another name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info

from icl.releases.names import CheckpointError
from icl.releases.provenance import provenance_in


def keep_longer(path: Path | None, max_steps: int) -> None:
    """Rename a training checkpoint or release folder of more than `max_steps` steps: `last.ckpt` to `last-1.ckpt`.

    A trial of two steps with the options of a run of hours would end in its folders otherwise. Runs of as many steps
    replace each other, as the same command would.

    Args:
        max_steps: of the new run; negative for one without end, which replaces whatever is there.
    """
    if path is None or max_steps < 0 or not path.exists():
        return
    steps = _steps(path)
    if steps is None or steps <= max_steps:
        return
    number = next(n for n in range(1, 10_000) if not _numbered(path, n).exists())
    path.rename(_numbered(path, number))
    rank_zero_info(
        f"{path} is of an earlier run of {steps:,} steps, and this one has {max_steps:,}: it is kept as "
        f"{_numbered(path, number)}. --ckpt_path goes on from it; other folders for this run are given with "
        "its callbacks ModelCheckpoint (dirpath) and WriteRelease (folder), not with default_root_dir alone."
    )


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def _steps(path: Path) -> int | None:
    """Steps of the run that a checkpoint or a release is of; None where it does not say."""
    try:
        if path.is_dir():
            found: Any = provenance_in(path).get("steps")
        else:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True).get("global_step")
    except (OSError, RuntimeError, pickle.UnpicklingError, AttributeError, CheckpointError):
        return None  # damaged, or of another program
    return found if isinstance(found, int) else None

"""Names and folders of releases: which files one has, which ones are shipped, where a name leads."""

from __future__ import annotations

import functools
import os
from pathlib import Path

CONFIG, WEIGHTS, PROVENANCE, CARD = "config.json", "model.safetensors", "provenance.json", "README.md"

READER = "reader.safetensors"  # see `icl.releases.reader_file`
TRAINING = "training.yaml"  # see `icl.releases.prior_limits`
FINGERPRINTS = "fingerprints.npz"  # see `icl.releases.seen`
PARTS = (CONFIG, WEIGHTS, PROVENANCE, CARD, READER, TRAINING, FINGERPRINTS)
"""What belongs to a release; curves and results that lie beside it do not."""

_PREFERRED = ("base", "nano")


class CheckpointError(ValueError):
    """A release folder that cannot be used: incomplete, damaged, or not one of ours."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """Neither a shipped checkpoint nor an existing folder."""

    __str__ = ValueError.__str__  # FileNotFoundError would print an errno


@functools.cache
def shipped_folder() -> Path:
    """Where the weights of this installation lie: inside the wheel, or in the source tree when installed editable."""
    inside = Path(__file__).parents[1] / "_checkpoints"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "checkpoints"


def available_checkpoints() -> list[str]:
    """Names that `load_release` and the estimators accept, best first."""
    root = os.fspath(shipped_folder())
    if not os.path.isdir(root):
        return []
    # Asked by every fit: a Path for each file took as long as all else that a fit asks of a release.
    files = {name: [os.path.join(root, name, file) for file in (CONFIG, WEIGHTS)] for name in os.listdir(root)}
    names = [name for name, both in files.items() if all(map(os.path.isfile, both))]
    return sorted(names, key=lambda name: (_PREFERRED.index(name) if name in _PREFERRED else len(_PREFERRED), name))


def resolve_checkpoint(name_or_path: str | os.PathLike | None = None) -> Path:
    """Folder of a release. A shipped name wins over a folder of that name in the working directory.

    Args:
        name_or_path: a name of `available_checkpoints()`, a release folder, or None for the best one shipped.
    Raises:
        CheckpointNotFoundError: if there is no such name or folder.
        CheckpointError: if it is not a release folder.
    """
    names = available_checkpoints()
    if name_or_path is None:
        if not names:
            raise CheckpointNotFoundError(
                f"this installation carries no weights ({shipped_folder()} holds none); pass checkpoint= with the path "
                f"of a release folder, as `python train.py fit --config configs/nano.yaml` writes at its end."
            )
        return shipped_folder() / names[0]
    if str(name_or_path) in names:
        return shipped_folder() / str(name_or_path)
    path = Path(name_or_path)
    try:
        path = path.expanduser()
        exists = path.exists()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, ~ of nobody
        exists = False
    if not exists:
        raise CheckpointNotFoundError(
            f"no checkpoint {str(name_or_path)[:300]!r}: it is neither an existing folder nor one of the shipped names "
            f"({', '.join(names) or 'none are shipped'}). Use one of these or the path of a release folder."
        )
    if not path.is_dir():
        kind = "a training checkpoint, which serves resuming only" if path.suffix == ".ckpt" else "a file"
        raise CheckpointError(
            f"{path} is {kind}; expected a release folder with {CONFIG} and {WEIGHTS}. Pass the folder that "
            f"training wrote at its end, or write one with icl.save_release."
        )
    missing = [name for name in (CONFIG, WEIGHTS) if not (path / name).is_file()]
    if missing:
        found = sorted(p.name for p in path.iterdir())[:8]
        raise CheckpointError(
            f"{path} is not a release folder: {' and '.join(missing)} missing; it holds "
            f"{', '.join(found) or 'nothing'}. Copy the whole folder again, or write one with "
            f"icl.save_release."
        )
    return path

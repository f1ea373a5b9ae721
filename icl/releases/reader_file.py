"""The reader of a release: one more file in its folder, tied to the weights that it was distilled from."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from icl.atomic import write_atomically
from icl.network.reader import Reader, ReaderConfig
from icl.releases.folder import load_release, sha256_of, stamps_of
from icl.releases.names import READER, WEIGHTS, CheckpointError, available_checkpoints, resolve_checkpoint
from icl.releases.reading import TensorFile, parse_json
from icl.releases.steady import read_steadily


def has_reader(name_or_path: str | os.PathLike | None = None) -> bool:
    """Whether the release has a reader, for these weights or others."""
    return (resolve_checkpoint(name_or_path) / READER).is_file()


def load_reader(name_or_path: str | os.PathLike | None = None, device: str | torch.device = "cpu") -> Reader:
    """The reader of a release, with its trunk, in float32 and evaluation mode; one copy per process and device.

    Args:
        name_or_path: as for `icl.releases.names.resolve_checkpoint`.
        device: where the weights go.
    Raises:
        CheckpointError: if the release has none, if the file is damaged, or if it belongs to other weights.
    """
    folder = resolve_checkpoint(name_or_path).resolve()
    if not (folder / READER).is_file():
        others = [name for name in available_checkpoints() if has_reader(name)]
        raise CheckpointError(
            f"{folder.name} has no reader ({READER}), which fast_queries=True asks for. Use fast_queries=False"
            f"{', or one of the shipped releases that have one: ' + ', '.join(others) if others else ''}; "
            f"`python train.py distill --config configs/reader.yaml` makes one."
        )
    return read_steadily(folder, lambda: _load(folder, stamps_of(folder, READER, WEIGHTS), torch.device(device)))


@lru_cache(maxsize=4)
def _load(folder: Path, stamps: tuple[int, ...], device: torch.device) -> Reader:
    path = folder / READER
    file, facts = _opened(path)
    if facts["weights_sha256"] != sha256_of(folder / WEIGHTS):
        raise CheckpointError(
            f"{path} was distilled from other weights than {WEIGHTS} beside it. Distill it again (`python train.py "
            f"distill`), copy both files from one release, or use fast_queries=False."
        )
    trunk = load_release(folder, device)
    try:
        shape = ReaderConfig(**facts["shape"])
        if any(type(number) is not int for number in (*shape.depths, shape.stride, shape.rows)):
            raise TypeError("its numbers are no whole numbers")
        with torch.random.fork_rng(devices=[]):  # the constructor draws initial weights
            reader = Reader(trunk, shape)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} describes a reader of another version of icl ({error}). Copy the release folder of this version, "
            f"or use fast_queries=False."
        ) from error
    file.check({name: tuple(w.shape) for name, w in reader.own_state().items()}, "description in it")
    reader.load_state_dict(file.load(), strict=False)
    return reader.to(device).eval()


def _opened(path: Path) -> tuple[TensorFile, dict[str, Any]]:
    """The file, and what it says of itself."""
    file = TensorFile(path)
    facts = {name: parse_json(text, path) for name, text in file.metadata.items() if name in ("shape", "provenance")}
    if "shape" not in facts or "weights_sha256" not in file.metadata:
        raise CheckpointError(
            f"{path} does not say what it is: it was not written by icl.releases.reader_file.save_reader."
        )
    return file, facts | {"weights_sha256": file.metadata["weights_sha256"].strip('"')}


def reader_provenance(name_or_path: str | os.PathLike | None = None) -> dict[str, Any]:
    """How the reader of a release was made."""
    return _opened(resolve_checkpoint(name_or_path) / READER)[1].get("provenance", {})


def save_reader(reader: Reader, folder: str | os.PathLike, provenance: dict[str, Any]) -> Path:
    """Write the reader into the folder of the release it was distilled from, in float16, whole or not at all.

    Args:
        reader: its weights must be finite.
        folder: a release folder, whose weights are those of `reader.trunk`.
        provenance: JSON-serialisable facts of the run.
    Raises:
        ValueError: if a weight is not finite.
        CheckpointError: if `folder` is no release.
    """
    from safetensors.torch import save

    folder = resolve_checkpoint(folder)
    weights = {name: w.detach().cpu().half().contiguous() for name, w in reader.own_state().items()}
    if bad := [name for name, w in weights.items() if not w.isfinite().all()]:
        raise ValueError(f"weights {', '.join(bad[:3])} are not finite in float16: distillation diverged.")
    shape = {name: getattr(reader.shape, name) for name in ReaderConfig.__dataclass_fields__}
    facts = {"shape": shape, "weights_sha256": sha256_of(folder / WEIGHTS), "provenance": provenance}
    content = save(weights, metadata={"format": "pt", **{k: json.dumps(v, default=str) for k, v in facts.items()}})
    write_atomically(folder / READER, content)
    return folder / READER

"""A release folder: `config.json`, `model.safetensors`, `provenance.json` and a model card, `README.md`.

Weights may be stored in half precision; they load as float32. A folder may come from anybody: nothing here ever
unpickles, and sizes are compared before anything is built (`icl.releases.reading`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from icl.atomic import replacing_folder
from icl.releases.card import model_card
from icl.releases.names import (
    CARD,
    CONFIG,
    FINGERPRINTS,
    PROVENANCE,
    TRAINING,
    WEIGHTS,
    CheckpointError,
    resolve_checkpoint,
)
from icl.releases.provenance import environment, provenance_in, version_of
from icl.releases.reading import TensorFile, read_json
from icl.releases.steady import read_steadily

if TYPE_CHECKING:
    from icl.network.config import TabularConfig
    from icl.network.model import TabularTransformer

# What transformers writes beside a model's own fields.
_BOOKKEEPING = {"model_type", "architectures", "transformers_version", "dtype", "torch_dtype"}
# Far above any model there is, and small enough that to refuse one takes neither time nor memory.
_MOST, _MOST_OF_ANY = {"n_layers": 256, "d_embed": 16_384}, 1_000_000


def load_release(name_or_path: str | os.PathLike | None = None, device: str | torch.device = "cpu"):
    """The model of a release, in float32 and evaluation mode.

    One copy per process, device and version of the files: callers share it, so deep-copy it before training on it.

    Args:
        name_or_path: as for `resolve_checkpoint`.
        device: where the weights go.
    Returns:
        a TabularTransformer.
    Raises:
        CheckpointError: naming the file, what is wrong with it and what to do.
    """
    folder = resolve_checkpoint(name_or_path).resolve()
    return read_steadily(folder, lambda: _load(folder, stamps_of(folder, CONFIG, WEIGHTS), torch.device(device)))


def stamps_of(folder: Path, *names: str) -> tuple[int, ...]:
    """What tells a version of these files from the next."""
    return tuple((folder / name).stat().st_mtime_ns for name in names)


@lru_cache(maxsize=4)
def _load(folder: Path, stamps: tuple[int, ...], device: torch.device) -> TabularTransformer:
    from icl.network.model import TabularTransformer

    config = _read_config(folder / CONFIG)
    file = TensorFile(folder / WEIGHTS)
    # Without memory for the weights, before it is known that the file has them: a configuration is quick to write.
    with torch.device("meta"):
        model = TabularTransformer(config)
    file.check({name: tuple(w.shape) for name, w in model.state_dict().items()}, f"{CONFIG} beside it")
    _check_unchanged(folder)
    model = model.to_empty(device="cpu")
    model.load_state_dict(file.load(), strict=True)
    model.to(device)
    return model.eval()


def _check_unchanged(folder: Path) -> None:
    """A flipped bit in a weight would otherwise be one more number."""
    written = provenance_in(folder).get("weights_sha256")
    if written is not None and written != sha256_of(folder / WEIGHTS):
        raise CheckpointError(
            f"{folder / WEIGHTS} is not the file that {PROVENANCE} was written with: it is damaged or from another "
            f"release. Copy the release folder again, or write it anew with icl.save_release."
        )


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_config(path: Path) -> TabularConfig:
    from icl.network.config import TabularConfig

    raw = read_json(path)
    found = raw.get("model_type")
    if found != TabularConfig.model_type:
        raise CheckpointError(
            f"{path} describes a model of type {str(found)[:100]!r}, expected {TabularConfig.model_type!r}: it was "
            f"written by another program. Pass a folder written by icl.save_release."
        )
    return checked_config({key: value for key, value in raw.items() if key not in _BOOKKEEPING}, path)


def checked_config(fields: dict[str, Any], path: Path) -> TabularConfig:
    """The configuration with these fields, which come from `path`.

    Raises:
        CheckpointError: for unknown fields, and for values that no model has.
    """
    from icl.network.config import FIELDS, TabularConfig

    if unknown := sorted(fields.keys() - set(FIELDS)):
        raise CheckpointError(
            f"{path} has unknown keys: {', '.join(unknown)}. It was written by a newer version (this is icl "
            f"{version_of('icl')}) or edited by hand; upgrade icl or remove the keys."
        )
    for name, value in fields.items():
        most = _MOST.get(name, _MOST_OF_ANY)
        if type(value) is not int or not 0 <= value <= most:
            raise CheckpointError(
                f"{path} holds a value that no model can have: {name} is {repr(value)[:100]}, expected a whole number "
                f"up to {most:,}."
            )
    try:
        return TabularConfig(**fields)
    except Exception as error:  # transformers raises classes of its own
        raise CheckpointError(f"{path} holds a value that no model can have: {error}") from error


def save_release(
    model: TabularTransformer,
    folder: str | os.PathLike,
    provenance: dict[str, Any],
    dtype: torch.dtype = torch.float16,
    notes: str = "",
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a release folder and return it: first in full beside its place, then renamed, so it is never half there.

    An earlier release at `folder` is replaced; files of its own that are not part of a release (curves, results) stay.
    Writers of one folder come one after the other; a reader sees the old release or the new one.

    Args:
        model: its weights must be finite, and stay so in `dtype`.
        provenance: JSON-serialisable facts of the run (config, seed, tasks seen, device, wall time); git commit, date,
            versions and size are added where absent.
        dtype: floating type on disk; float16 halves the file.
        notes: Markdown for the model card, such as results.
        files: more files of the release, name -> content; written with it or not at all.
    Raises:
        ValueError: if a weight is not finite, or `folder` holds something that is not a release.
    """
    folder = Path(os.path.realpath(Path(folder).expanduser()))
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / CONFIG).is_file())):
        raise ValueError(
            f"{folder} exists and is not a release folder; choose another folder or move it away, it will not be "
            f"overwritten."
        )
    facts = {**environment(model, dtype), **provenance}
    content = dict(files or {}) | _files_of(model, _to_disk_type(model, dtype), facts, folder.name, notes)
    with replacing_folder(folder) as staging:
        for name in {TRAINING, FINGERPRINTS} - set(content):  # of the weights that were here
            (staging / name).unlink(missing_ok=True)
        for name, data in content.items():
            (staging / name).unlink(missing_ok=True)  # it may be a link to a file elsewhere
            (staging / name).write_bytes(data)
    return folder


def _to_disk_type(model: TabularTransformer, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    weights = {}
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().cpu()
        # clone: safetensors refuses tensors that share memory.
        weights[name] = (tensor.to(dtype) if tensor.is_floating_point() else tensor).clone().contiguous()
        if tensor.is_floating_point() and not torch.isfinite(weights[name]).all():
            raise ValueError(
                f"weight {name} is not finite in {dtype} (largest magnitude {tensor.abs().max():.3g}): training "
                f"diverged, or the type is too narrow; pass dtype=torch.bfloat16 or torch.float32 if it did not."
            )
    return weights


def _files_of(model, weights: dict[str, torch.Tensor], facts: dict, name: str, notes: str) -> dict[str, bytes]:
    from safetensors.torch import save

    from icl.network.config import own_fields

    own = dict(sorted(own_fields(model.config).items()))
    content = save(weights, metadata={"format": "pt"})
    facts = facts | {"weights_sha256": hashlib.sha256(content).hexdigest()}
    head = {"model_type": model.config.model_type, "architectures": [type(model).__name__]}
    return {
        CONFIG: (json.dumps(head | own, indent=2) + "\n").encode(),
        PROVENANCE: (json.dumps(facts, indent=2, default=str) + "\n").encode(),
        CARD: model_card(name, facts, own, notes).encode(),
        WEIGHTS: content,
    }

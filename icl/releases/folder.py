"""A release folder: `config.json`, `model.safetensors`, `provenance.json` and a model card, `README.md`.

Weights may be stored in half precision; they load as float32. Nothing here ever unpickles.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from icl.atomic import replacing_folder
from icl.releases.card import model_card
from icl.releases.names import CARD, CONFIG, PROVENANCE, WEIGHTS, CheckpointError, resolve_checkpoint
from icl.releases.provenance import environment, version_of

if TYPE_CHECKING:
    from icl.network.model import TabularTransformer

# What transformers writes beside a model's own fields.
_BOOKKEEPING = {"model_type", "architectures", "transformers_version", "dtype", "torch_dtype"}


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
    stamps = tuple((folder / name).stat().st_mtime_ns for name in (CONFIG, WEIGHTS))
    return _load(folder, stamps, torch.device(device))


@lru_cache(maxsize=4)
def _load(folder: Path, stamps: tuple[int, ...], device: torch.device) -> TabularTransformer:
    from icl.network.model import TabularTransformer

    config = _read_config(folder / CONFIG)
    weights = _read_weights(folder / WEIGHTS)
    # The constructor draws initial weights; the caller's random state is not ours to advance.
    with torch.random.fork_rng(devices=[]):
        model = TabularTransformer(config)
    _check_tensors(folder / WEIGHTS, {k: v.shape for k, v in weights.items()}, model)
    model.load_state_dict(weights, strict=True)
    return model.to(device).eval()


def _read_config(path: Path):
    from icl.network.config import TabularConfig

    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); copy the release folder again.") from error
    found = raw.get("model_type") if isinstance(raw, dict) else None
    if found != TabularConfig.model_type:
        raise CheckpointError(
            f"{path} describes a model of type {found!r}, expected {TabularConfig.model_type!r}: it was written by "
            f"another program. Pass a folder written by icl.save_release."
        )
    fields = {key: value for key, value in raw.items() if key not in _BOOKKEEPING}
    unknown = sorted(set(fields) - _own_fields(TabularConfig()))
    if unknown:
        raise CheckpointError(
            f"{path} has unknown keys: {', '.join(unknown)}. It was written by a newer version (this is icl "
            f"{version_of('icl')}) or edited by hand; upgrade icl or remove the keys."
        )
    try:
        return TabularConfig(**fields)
    except Exception as error:  # transformers raises classes of its own for a value of the wrong type
        raise CheckpointError(f"{path} holds a value that no model can have: {error}") from error


def _own_fields(config) -> set[str]:
    """Names of the fields a TabularConfig adds to those of every transformers config."""
    from transformers import PretrainedConfig

    return set(config.to_dict()) - (set(PretrainedConfig().to_dict()) | _BOOKKEEPING)


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as safetensors: {error}. The file is truncated or "
            f"of another format (pickled checkpoints are never loaded); copy the release folder again."
        ) from error
    return {name: w.float() if w.is_floating_point() else w for name, w in weights.items()}


def _check_tensors(path: Path, found: dict[str, torch.Size], model: TabularTransformer) -> None:
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    problems = [
        *(f"{name} is missing" for name in sorted(expected.keys() - found.keys())),
        *(f"{name} is unexpected" for name in sorted(found.keys() - expected.keys())),
        *(
            f"{name} has shape {tuple(found[name])}, expected {tuple(expected[name])}"
            for name in sorted(expected.keys() & found.keys())
            if found[name] != expected[name]
        ),
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(
            f"{path} does not fit the {CONFIG} beside it: {'; '.join(problems[:5])}{more}. The two files come from "
            f"different models; copy both from one release."
        )


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

    config = model.config.to_dict()
    own = {key: config[key] for key in sorted(_own_fields(model.config))}
    head = {"model_type": config["model_type"], "architectures": [type(model).__name__]}
    return {
        CONFIG: (json.dumps(head | own, indent=2) + "\n").encode(),
        PROVENANCE: (json.dumps(facts, indent=2, default=str) + "\n").encode(),
        CARD: model_card(name, facts, own, notes).encode(),
        WEIGHTS: save(weights, metadata={"format": "pt"}),
    }

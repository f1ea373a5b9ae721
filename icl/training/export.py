"""A training checkpoint -> a release folder, at any time of a run: `python train.py export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from icl.network.config import FIELDS, TabularConfig
from icl.network.model import TabularTransformer
from icl.releases.folder import checked_config, save_release
from icl.releases.names import TRAINING, CheckpointError
from icl.releases.provenance import origin_of
from icl.releases.reading import parse_yaml
from icl.releases.training_yaml import without_places

RUN = "run"
"""Where `icl.training.callbacks.WriteRelease` keeps the facts of the run inside a training checkpoint."""


def export_checkpoint(ckpt_path: str, out: str, training_yaml: str | None = None) -> Path:
    """Turn a training checkpoint into a release folder that estimators load.

    The weights are the averaged ones where the run averages. Nothing in the file is executed.

    Args:
        ckpt_path: such as runs/base/checkpoints/last.ckpt; training may go on meanwhile.
        out: folder to write.
        training_yaml: the run's configuration; needed for checkpoints written before they held it.
    Returns:
        the folder.
    Raises:
        CheckpointError: if the file cannot be read, or holds no model of ours.
    """
    path = Path(ckpt_path)
    if not path.is_file():
        raise CheckpointError(
            f"there is no checkpoint {path}; training writes last.ckpt to the dirpath of ModelCheckpoint in its "
            f"configuration."
        )
    checkpoint = _read(path)
    run = checkpoint.get(RUN, {})
    text = Path(training_yaml).read_text(encoding="utf-8") if training_yaml else run.get("training_yaml")
    if "ancestor" not in checkpoint and text:
        release = parse_yaml(text, path)["model"].get("init_from")
        checkpoint["ancestor"] = origin_of(release) if release else None
    with torch.device("meta"):  # no memory for what the file may not have
        model = TabularTransformer(_model_config(checkpoint, text, path))
    prefix = "model."
    state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"the weights in {path} do not fit its own description: {error}") from error
    return save_release(model, out, provenance(checkpoint), files=training_file(text))


def training_file(text: str | None) -> dict[str, bytes]:
    """The configuration of the run as a file of its release; none if there is none to share."""
    shared = without_places(text) if text else ""
    return {TRAINING: shared.encode()} if shared else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        # Tensors and plain types only: nothing in the file is executed.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch raise many classes
        raise CheckpointError(f"{path} cannot be read as a training checkpoint: {error}") from error
    parts = {"progress": dict, "state_dict": dict, "global_step": int}
    if not isinstance(checkpoint, dict) or not all(isinstance(checkpoint.get(k), kind) for k, kind in parts.items()):
        raise CheckpointError(f"{path} was not written by train.py: it holds no record of its progress.")
    return checkpoint


def provenance(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The facts of a run as a release records them."""
    progress, run = checkpoint["progress"], checkpoint.get(RUN, {})
    facts = {k: v for k, v in run.items() if k != "training_yaml"}
    facts |= {
        "steps": checkpoint["global_step"],
        "tasks_seen": progress["tasks_seen"],
        "wall_seconds": round(progress["wall_seconds"]),
        "averaged_weights": "averaging_state" in checkpoint,
        "init_from": checkpoint.get("ancestor"),
        "data": "synthetic tasks only",
    }
    ancestor = facts["init_from"] or {}
    if "tasks_seen" in ancestor:
        facts["tasks_seen_in_all"] = facts["tasks_seen"] + ancestor.get("tasks_seen_in_all", ancestor["tasks_seen"])
    return facts


def _model_config(checkpoint: dict[str, Any], text: str | None, path: Path) -> TabularConfig:
    fields = checkpoint.get("model_config")
    if fields is None and text:
        fields = parse_yaml(text, path)["model"]["model"]
    if fields is None:
        raise CheckpointError(f"{path} does not say how large its model is; pass --training_yaml with that of the run.")
    # The rest is bookkeeping of transformers.
    return checked_config({name: value for name, value in fields.items() if name in FIELDS}, path)

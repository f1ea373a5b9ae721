"""The YAML files of a run -> its trainer, module and tasks, without a command line.

`train.py` leaves this to LightningCLI and jsonargparse, which also make options of every field and check each of them.
Where a program builds a run itself, or jsonargparse is not installed, this builds the same
(`tests/training/test_configuration.py`).
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import lightning as L
import yaml

from icl.atomic import write_atomically
from icl.training.checkpoint_io import with_whole_checkpoints
from icl.training.pretraining import PretrainingModule
from icl.training.stream import TaskDataModule


@dataclass(frozen=True)
class Run:
    """`run.trainer.fit(run.module, run.data)` trains."""

    trainer: L.Trainer
    module: PretrainingModule
    data: TaskDataModule


def read_configuration(*paths: str | Path) -> dict[str, Any]:
    """The files laid over one another: a later one changes what it names, lists as a whole."""
    config: dict[str, Any] = {}
    for path in paths:
        config = overlaid(config, yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    return config


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with what `above` names in its place."""
    whole = dict(below)
    for name, value in above.items():
        old = whole.get(name)
        whole[name] = overlaid(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return whole


def built(config: Mapping[str, Any], callbacks: Sequence[L.Callback] = (), plugins: Sequence[Any] = ()) -> Run:
    """The run that a configuration says; it seeds everything, as Lightning's command does.

    Args:
        config: as `read_configuration` gives it.
        callbacks: come before those of the configuration.
        plugins: of the trainer, beside those of the configuration.
    Raises:
        ValueError: naming what is unknown.
    """
    if unknown := sorted(set(config) - {"seed_everything", "model", "data", "trainer"}):
        raise ValueError(f"a configuration has model, data, trainer and seed_everything, got {', '.join(unknown)} too.")
    L.seed_everything(config.get("seed_everything", 0), workers=True, verbose=False)
    options = arguments(L.Trainer, config.get("trainer", {}))
    options["callbacks"] = [*callbacks, *(options.get("callbacks") or []), WriteConfiguration(config)]
    options["plugins"] = with_whole_checkpoints([*(options.get("plugins") or []), *plugins])
    module = PretrainingModule(**arguments(PretrainingModule, config.get("model", {})))
    data = TaskDataModule(**arguments(TaskDataModule, config.get("data", {})))
    return Run(L.Trainer(**options), module, data)


class WriteConfiguration(L.Callback):
    """Put the configuration beside the log before the first step, where releases look for it."""

    def __init__(self, config: Mapping[str, Any]):
        self.config = config

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        folder = trainer.log_dir  # a collective call: every rank must make it
        if trainer.is_global_zero and folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            write_atomically(Path(folder) / "config.yaml", yaml.safe_dump(dict(self.config), sort_keys=False))


def arguments(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """What `kind` is made with: each value as the annotation of its argument wants it."""
    # Fields that a dataclass inherits are annotated in the words of its bases' modules.
    hints = typing.get_type_hints(kind if is_dataclass(kind) else kind.__init__)  # type: ignore[misc]  # of a class
    if unknown := sorted(set(values) - set(hints)):
        raise ValueError(f"{kind.__name__} has no option {', '.join(unknown)}; it has {', '.join(sorted(hints))}.")
    return {name: made(value, hints[name]) for name, value in values.items()}


def made(value: Any, hint: Any) -> Any:
    """An object, tuple, float or span of time from what YAML has for it."""
    wanted = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if isinstance(value, Mapping) and "class_path" in value:
        module, _, name = value["class_path"].rpartition(".")
        kind = getattr(import_module(module), name)
        return kind(**arguments(kind, value.get("init_args") or {}))
    if isinstance(value, Mapping):
        own = [kind for kind in wanted if isinstance(kind, type) and is_dataclass(kind)]
        return own[0](**arguments(own[0], value)) if own else value
    if isinstance(value, list):
        return _listed(value, wanted)
    if isinstance(value, str) and timedelta in wanted:
        hours, minutes, seconds = map(float, value.split(":"))
        return timedelta(hours=hours, minutes=minutes, seconds=seconds)
    # YAML 1.1 takes 1e-3 for text and 2 for a whole number.
    if float in wanted and isinstance(value, str if str not in wanted else ()):
        return float(value)
    return float(value) if float in wanted and int not in wanted and type(value) is int else value


def _listed(values: Sequence[Any], wanted: tuple[Any, ...]) -> list[Any] | tuple[Any, ...]:
    inner: list[Any] = [kind for kind in wanted if typing.get_origin(kind) in (list, tuple)]
    items = typing.get_args(inner[0]) if inner else ()
    whole = [made(value, items[min(k, len(items) - 1)] if items else Any) for k, value in enumerate(values)]
    return tuple(whole) if inner and typing.get_origin(inner[0]) is tuple else whole

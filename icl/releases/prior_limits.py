"""What the prior of a release covers, read from its `training.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from icl.releases.names import TRAINING, CheckpointError
from icl.releases.reading import read_yaml

# Of the prior's numeric targets, 5 % have a larger ratio (480 tasks of 300 rows); a normal one has 0.30.
_MOST_SPREAD = 0.6


@dataclass(frozen=True)
class PriorLimits:
    """What the tasks of pretraining reached at most."""

    least_class_share: float = 0.01
    most_levels: int = 64
    most_spread: float = _MOST_SPREAD

    @classmethod
    def of_training(cls, config: dict[str, Any]) -> PriorLimits:
        """From the resolved training configuration, as far as it says something."""
        shares = [
            target["min_class_share"]
            for target in _find(config.get("data", {}), "target")
            if isinstance(target, dict) and isinstance(target.get("min_class_share"), int | float)
        ]
        levels = [n for n in _find(config.get("data", {}), "max_levels") if isinstance(n, int)]
        default = cls()
        return cls(min(shares, default=default.least_class_share), max(levels, default=default.most_levels))


@lru_cache(maxsize=8)
def limits_of(folder: Path | None) -> PriorLimits:
    """Limits of the release in `folder`; the defaults of the shipped recipe where it does not say."""
    file = folder / TRAINING if folder is not None else None
    if file is None or not file.exists():
        return PriorLimits()
    try:
        config = read_yaml(file)
    except CheckpointError:
        return PriorLimits()  # it serves a hint; the weights are another file
    return PriorLimits.of_training(config) if isinstance(config, dict) else PriorLimits()


def _find(node: Any, key: str) -> list:
    """Every value of `key` in nested dicts and lists."""
    if isinstance(node, dict):
        own = [node[key]] if key in node else []
        return own + [found for value in node.values() for found in _find(value, key)]
    if isinstance(node, list):
        return [found for value in node for found in _find(value, key)]
    return []

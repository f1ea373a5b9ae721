"""`training.yaml`, the configuration of a pretraining run, as releases hold it: without the places of a machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from icl.releases.names import CheckpointError
from icl.releases.reading import parse_yaml


def without_places(text: str) -> str:
    """The text of a configuration, absolute paths made relative to the working directory or cut to their last name.

    "" if it cannot be read, or if a path in it cannot be replaced: a release does without.
    """
    try:
        for place in sorted(_places(parse_yaml(text, Path("training.yaml"))), key=len, reverse=True):
            text = re.sub(rf"(?<![\w./\\-]){re.escape(place)}(?![\w./\\-])", _shown(place).replace("\\", r"\\"), text)
        return "" if any(_places(parse_yaml(text, Path("training.yaml")))) else text
    except CheckpointError:
        return ""


def _places(node: Any) -> Iterator[str]:
    if isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _places(value)
    elif isinstance(node, str) and (PurePosixPath(node).is_absolute() or PureWindowsPath(node).is_absolute()):
        yield node


def _shown(place: str) -> str:
    path = Path(os.path.normpath(place))
    inside = path.is_relative_to(Path.cwd())
    return path.relative_to(Path.cwd()).as_posix() if inside else PureWindowsPath(place).name or "."

"""Files of a release folder, which may come from anybody: bounded in size and depth, never a path outside the folder.

Everything that is wrong with one is a `CheckpointError`, said before much memory or time is spent on it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icl.releases.names import CheckpointError

if TYPE_CHECKING:
    import torch

MOST_TEXT = 4 * 2**20
"""Bytes of a JSON file; provenance names every table that a model was tuned on."""
MOST_YAML = 256 * 1024  # base has 7 kB; YAML is parsed a hundred times slower than JSON
_MOST_HEADER = 4 * 2**20
_MOST_DEPTH = 50
_FLOATS = {"F16", "BF16", "F32", "F64"}
_AGAIN = "copy the release folder again"


def check_place(path: Path) -> None:
    """Raise for anything but a file of this folder.

    Links may lead to files beside it, and to the `blobs` that the cache of Hugging Face keeps for its snapshots.
    """
    real = Path(os.path.realpath(path))
    folder = Path(os.path.realpath(path.parent))
    try:
        mode = real.stat().st_mode
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; {_AGAIN}.") from error
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"{path} is no file but a folder, a device or a pipe; {_AGAIN}.")
    if real.parent != folder and real.parent != folder.parents[min(1, len(folder.parents) - 1)] / "blobs":
        raise CheckpointError(f"{path} is a link that leaves the release folder, to {real}; copy the file itself.")


def read_bounded(path: Path, most: int) -> bytes:
    """What the file holds, at most `most` bytes of it.

    Raises:
        CheckpointError: if it is larger, no file, a link that leads elsewhere, or cannot be read.
    """
    check_place(path)
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}; {_AGAIN}.") from error
    if len(content) > most:
        raise CheckpointError(f"{path} has more than {most:,} bytes, which no release needs; {_AGAIN}.")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: as `read_bounded`, and if it is not valid, too deep, or no object.
    """
    return parse_json(read_bounded(path, MOST_TEXT), path)


def parse_json(content: bytes | str, path: Path) -> dict[str, Any]:
    """The JSON object in `content`, which comes from `path`."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError, JSONDecodeError, integers of 5,000 digits
        raise CheckpointError(f"{path} is not valid JSON ({error}); {_AGAIN}.") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds a JSON {type(found).__name__}, expected an object; {_AGAIN}.")
    _check_depth(found, path)
    return found


def _check_depth(node: Any, path: Path) -> None:
    todo = [(node, 1)]
    while todo:
        part, depth = todo.pop()
        if depth > _MOST_DEPTH:
            raise CheckpointError(f"{path} is nested more than {_MOST_DEPTH} levels deep; {_AGAIN}.")
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        todo += [(item, depth + 1) for item in inner]


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, built from plain types only.

    Raises:
        CheckpointError: as `read_bounded`, and if it is not valid, too deep, or uses aliases: a few hundred bytes of
            them stand for more objects than there are atoms.
    """
    return parse_yaml(read_bounded(path, MOST_YAML), path)


def parse_yaml(content: bytes | str, path: Path) -> Any:
    """What the YAML in `content`, which comes from `path`, holds."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    try:
        for event in yaml.parse(content, loader):
            if isinstance(event, yaml.AliasEvent):
                raise CheckpointError(f"{path} uses YAML aliases (*{event.anchor}); write the values out.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MOST_DEPTH:
                raise CheckpointError(f"{path} is nested more than {_MOST_DEPTH} levels deep; {_AGAIN}.")
        return yaml.load(content, loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is not valid YAML ({error}); {_AGAIN}.") from error


class TensorFile:
    """A safetensors file whose header has been read, and nothing else.

    Attributes:
        shapes: of every tensor, by name.
        metadata: texts by name.
    Raises:
        CheckpointError: if it is damaged, of another format, or holds other than floating-point numbers.
    """

    def __init__(self, path: Path):
        check_place(path)
        self.path = path
        with open(path, "rb") as file:
            n_header = int.from_bytes(file.read(8), "little")
        if n_header > _MOST_HEADER:
            self._refuse(f"its header claims {n_header:,} bytes")
        types = {}
        with self._opened() as file:
            self.metadata: dict[str, str] = file.metadata() or {}
            self.shapes = {}
            for name in file.keys():  # noqa: SIM118 - not a dict
                part = file.get_slice(name)
                self.shapes[name], types[name] = tuple(part.get_shape()), part.get_dtype()
        if odd := [f"{name} is {kind}" for name, kind in types.items() if kind not in _FLOATS]:
            raise CheckpointError(
                f"{path} holds weights of a type that no release has: {', '.join(odd[:3])}; expected "
                f"{', '.join(sorted(_FLOATS))}. Write it again with icl.save_release."
            )

    def check(self, expected: Mapping[str, tuple[int, ...]], described: str) -> None:
        """Raise unless the tensors are the `expected` ones, which `described` calls for."""
        found = self.shapes
        problems = [
            *(f"{name} is missing" for name in sorted(expected.keys() - found.keys())),
            *(f"{name} is unexpected" for name in sorted(found.keys() - expected.keys())),
            *(
                f"{name} has shape {found[name]}, expected {tuple(expected[name])}"
                for name in sorted(expected.keys() & found.keys())
                if found[name] != tuple(expected[name])
            ),
        ]
        if problems:
            more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise CheckpointError(
                f"{self.path} does not fit the {described}: {'; '.join(problems[:5])}{more}. The two come from "
                f"different models; copy both from one release."
            )

    def load(self) -> dict[str, torch.Tensor]:
        """All tensors in float32.

        Raises:
            CheckpointError: if one holds a number that is not finite.
        """
        with self._opened() as file:
            weights = {name: file.get_tensor(name).float() for name in self.shapes}
        if bad := [name for name, w in weights.items() if not w.isfinite().all()]:
            raise CheckpointError(
                f"{self.path} holds weights that are not finite: {', '.join(bad[:3])}"
                f"{', ...' if len(bad) > 3 else ''}. Training diverged or the file is damaged; {_AGAIN}."
            )
        return weights

    def _opened(self):
        from safetensors import SafetensorError, safe_open

        try:
            return safe_open(self.path, "pt")
        except (SafetensorError, OSError, ValueError) as error:
            self._refuse(str(error), error)

    def _refuse(self, why: str, error: BaseException | None = None) -> None:
        raise CheckpointError(
            f"{self.path} ({self.path.stat().st_size} bytes) cannot be read as safetensors: {why}. The file is "
            f"truncated or of another format (pickled checkpoints are never loaded); {_AGAIN}."
        ) from error

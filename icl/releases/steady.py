"""Several files of one folder, read as one: another process may put a new folder in its place between two of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from icl.releases.names import CheckpointError

T = TypeVar("T")

# Writers need some ten milliseconds for a release, readers about as many: a folder that changes this often is not
# being saved, it is being hammered.
_ATTEMPTS, _PAUSE_SECONDS = 200, 0.005


def read_steadily(folder: Path, read: Callable[[], T]) -> T:
    """What `read()` returns or raises while the folder stays as it is: tried again where it was replaced meanwhile.

    No lock is taken, so that a reader needs no right to write and no writer can keep one waiting.

    Raises:
        CheckpointError: if the folder changes faster than it can be read.
    """
    for _ in range(_ATTEMPTS):
        before = _version(folder)
        try:
            result = read()
        except (CheckpointError, OSError):
            if _version(folder) == before:
                raise
        else:
            if _version(folder) == before:
                return result
        time.sleep(_PAUSE_SECONDS)
    raise CheckpointError(
        f"{folder} was replaced {_ATTEMPTS} times while it was read. Wait until whatever writes to it is done, or copy "
        f"the folder and use the copy."
    )


def _version(folder: Path) -> tuple:
    """Changes whenever a file of the folder, or the folder under this name, becomes another."""
    try:
        with os.scandir(folder) as entries:
            files = sorted((entry.name, _stamp(entry.stat())) for entry in entries)
        return _stamp(os.stat(folder)), *files
    except OSError:
        return ()  # not there at this moment


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size

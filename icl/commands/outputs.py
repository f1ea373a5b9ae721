"""What a command writes never destroys what it reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

# A folder with this file is a release.
_WEIGHTS = "model.safetensors"


def check_ending(output: str) -> None:
    """Refuse, before any work, a name for a table whose ending tells no format."""
    from icl.tables.writer import written_kind

    if output != "-":
        written_kind(Path(output))


def check_output(option: str, output: str | os.PathLike, inputs: Iterable[str | os.PathLike | None]) -> None:
    """Refuse, before any work, an output that is an input or that cannot be written; "-" is the standard output.

    Args:
        inputs: files, or folders whose files are read; what does not exist (the name of a checkpoint) is passed over.
    Raises:
        ValueError, OSError: naming the option.
    """
    if str(output) == "-":
        return
    path = Path(output).expanduser()
    if path.is_dir():
        raise ValueError(f"{option} {path} is a folder; name a file.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option}: there is no folder {path.parent} to write {path.name} into.")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{option}: folder {path.parent} does not let you write {path.name}.")
    if not path.exists():
        return
    if (path.parent / _WEIGHTS).is_file():
        raise ValueError(f"{option} {output} is a file of a release; name another file.")
    for given in inputs:
        if given is None or str(given) == "-":
            continue
        source = Path(given).expanduser()
        files = [source] if source.is_file() else source.rglob("*") if source.is_dir() else []
        # By device and inode: links, hard links and other spellings are one file.
        if any(file.is_file() and path.samefile(file) for file in files):
            raise ValueError(f"{option} {output} is one of the input files; name another file.")


def check_replaced(option: str, folder: str | os.PathLike, inputs: Iterable[str | os.PathLike]) -> None:
    """Refuse a folder that is to become a release and holds, or is, an input.

    Raises:
        ValueError: naming the option and the input.
    """
    path = Path(folder).expanduser().resolve()
    for given in inputs:
        source = Path(given).expanduser().resolve()
        if source.exists() and (source == path or path in source.parents) and (path / _WEIGHTS).is_file():
            raise ValueError(f"{option} {folder} is a release with {given}, which is an input; name another folder.")


def write_output(output: str, text: str) -> None:
    """A file written whole or not at all; "-" is the standard output."""
    from icl.atomic import write_atomically

    if output == "-":
        sys.stdout.write(text)
    else:
        write_atomically(Path(output).expanduser(), text)


def check_folder(option: str, folder: str | os.PathLike) -> Path:
    """The folder, made if need be; refused if it is a file or a release.

    Raises:
        ValueError, OSError: naming the option.
    """
    path = Path(folder).expanduser()
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{option} {path} is a file; name a folder, new or existing.")
    if (path / _WEIGHTS).is_file():
        raise ValueError(f"{option} {path} is the folder of a release; name another folder.")
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        raise PermissionError(f"{option}: folder {path} does not let you write into it.")
    return path

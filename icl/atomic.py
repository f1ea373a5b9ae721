"""A file or a folder is there whole or not at all: written beside its place, brought to the disk, then renamed.

What a killed run leaves, `.partial-XXXXXXXX-NAME`, goes at the next write of NAME; a writer that lives holds a lock on
its own, so that two writers of one name do not disturb each other: the later one wins, with whole content. Symbolic
links to files are replaced, not followed, and a hard link parts from its other names: neither changes what lies behind
it. A file that is replaced hands on its permissions; a new one has those that the umask leaves.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where leftovers are told by their age
    fcntl = None  # type: ignore[assignment]  # where it is missing, a module is not a module

# Of a write that failed for want of space or because of the disk; an OSError with another number, raised while
# something is written, may be about another file.
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
_LONGEST_NAME = 200  # bytes; file systems take 255
_STALE_SECONDS = 24 * 3600
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux
_HERE = -100  # AT_FDCWD


def write_atomically(path: str | os.PathLike, content: bytes | str) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it.

    Raises:
        OSError: naming `path`; what was there before stays.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as partial, open(partial, "wb") as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A name to write to, with the endings of `path`; what it holds takes the place of `path` if the block ends well.

    The file exists and is empty. If the block raises, ctrl-C included, it goes and `path` stays as it was.

    Raises:
        OSError: naming `path`, if there is no room, no permission, or something that is no file.
    """
    path = Path(path)
    with _naming(path, always=True):
        _refuse_special(path)
        _remove_leftovers(path)
        partial, descriptor = _claim(path)
    try:
        with _naming(path, always=False):
            yield partial
        with _naming(path, always=True):
            # Reopened: a library may have put another file under the name.
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
            if (mode := _mode_of(path)) is not None:
                partial.chmod(mode)
            os.replace(partial, path)
            _sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)
        os.close(descriptor)  # and with it the lock


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike) -> Iterator[Path]:
    """A folder with a copy of what `path` holds; it takes the place of `path` if the block ends well.

    A symbolic link to a folder stays, what it leads to is replaced; links inside are copied as links. Writers of
    folders beside each other wait for one another.

    Raises:
        OSError: naming `path`.
    """
    path = Path(os.path.realpath(path))
    with _naming(path, always=True):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        with _naming(path, always=True):
            _restore(path)
            _remove_leftovers(path)
            staging = _partial_name(path)
            if path.exists():
                shutil.copytree(path, staging, symlinks=True)
            else:
                staging.mkdir()
        try:
            with _naming(path, always=False):
                yield staging
            with _naming(path, always=True):
                _sync_tree(staging)
                _swap(staging, path)
                _sync_folder(path.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def _naming(path: Path, always: bool) -> Iterator[None]:
    """Put the name of what was to be written into an error of the system."""
    try:
        yield
    except OSError as error:
        if not always and error.errno not in _OF_THE_DISK:
            raise
        kept = "; what was there before is unchanged" if path.exists() else ""
        raise OSError(error.errno, f"cannot write {path}: {error.strerror or error}{kept}") from error


def _refuse_special(path: Path) -> None:
    """Renaming onto a device or a pipe would remove it."""
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file")
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise OSError(errno.EINVAL, "it is a device or a pipe, not a file")


def _mode_of(path: Path) -> int | None:
    """Permissions of the file that is to be replaced."""
    return stat.S_IMODE(path.stat().st_mode) if path.is_file() and not path.is_symlink() else None


def _key(path: Path) -> str:
    """The part of a partial name that tells whose it is; its endings are those of `path`."""
    if len(os.fsencode(path.name)) <= _LONGEST_NAME:
        return path.name
    return hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest() + "".join(path.suffixes[-2:])[-40:]


def _partial_name(path: Path) -> Path:
    return path.with_name(f".partial-{secrets.token_hex(4)}-{_key(path)}")


def _claim(path: Path) -> tuple[Path, int]:
    """A new partial file and a descriptor that holds a lock on it."""
    while True:
        partial = _partial_name(path)
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)  # less the umask
        try:
            # Another writer may have taken it for a leftover in the moment before it was locked: then that one holds
            # the lock and is about to remove it, or has done so.
            if _is_ours(descriptor) and partial.exists():
                if (mode := _mode_of(path)) is not None:
                    partial.chmod(mode | stat.S_IRUSR | stat.S_IWUSR)  # never open to more people than the old one
                return partial, descriptor
        except BaseException:
            partial.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_ours(descriptor: int) -> bool:
    """Whether nobody else holds a lock on it; from now on we do, where the file system knows locks."""
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # file systems without locks
            pass
    return True


def _remove_leftovers(path: Path) -> None:
    own = re.compile(rf"\.partial-[0-9a-f]{{8}}-{re.escape(_key(path))}")
    for name in os.listdir(path.parent):
        if own.fullmatch(name):
            leftover = path.with_name(name)
            with contextlib.suppress(OSError):
                if leftover.is_dir():
                    shutil.rmtree(leftover)  # writers of folders hold the lock of the parent, as we do
                else:
                    _remove_if_abandoned(leftover)


def _remove_if_abandoned(partial: Path) -> None:
    if fcntl is None:
        if time.time() - partial.stat().st_mtime > _STALE_SECONDS:
            partial.unlink()
        return
    with open(partial, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial.unlink()  # while locked: its writer may be about to lock it


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One at a time, among threads and processes; nothing where a folder cannot be locked."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _retired(path: Path) -> Path:
    return path.with_name(f".retired-{_key(path)}")


def _swap(staging: Path, path: Path) -> None:
    """Put `staging` in the place of `path`: in one step on Linux, else in two with a way back."""
    if not path.exists():
        os.rename(staging, path)
        return
    if _exchange(staging, path):
        return
    retired = _retired(path)
    os.rename(path, retired)
    try:
        os.rename(staging, path)
    except BaseException:
        os.rename(retired, path)
        raise
    shutil.rmtree(retired, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Whether the names of two folders could be exchanged."""
    call = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    return call is not None and call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def _restore(path: Path) -> None:
    """Undo what a kill between the two steps of `_swap` left."""
    retired = _retired(path)
    if retired.is_dir():
        if path.exists():
            shutil.rmtree(retired, ignore_errors=True)
        else:
            os.rename(retired, path)


def _sync_tree(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            if file.is_symlink() or not file.is_file():
                continue
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())
        _sync_folder(Path(place))


def _sync_folder(folder: Path) -> None:
    """Make a rename itself survive a power cut; Windows has no such call."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

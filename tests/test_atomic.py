"""Whole or not at all: kills, full disks, links, permissions, two writers, and what a dead run leaves."""

import errno
import multiprocessing
import os
import resource
import stat
import threading
import time

import pytest

from icl import atomic
from icl.atomic import replacing, replacing_folder, write_atomically

PROCESSES = multiprocessing.get_context("spawn")  # a fork would copy the locks of threads


def names(folder) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_write_replaces_the_file_and_leaves_no_other(tmp_path):
    file = tmp_path / "a.txt"
    write_atomically(file, "old")
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new" and names(tmp_path) == ["a.txt"]


def test_what_fails_inside_keeps_the_old_file_and_its_own_words(tmp_path):
    file = tmp_path / "a.txt"
    write_atomically(file, "old")
    with pytest.raises(FileNotFoundError, match=r"input\.csv"), replacing(file) as partial:
        partial.write_text("half")
        (tmp_path / "input.csv").read_text()
    with pytest.raises(KeyboardInterrupt), replacing(file) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert file.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path):
    """The kernel refuses to let a file grow beyond the limit, as it would on a full disk."""
    file = tmp_path / "a.bin"
    write_atomically(file, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write .*a\.bin: .*what was there before is unchanged") as caught:
            write_atomically(file, b"x" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert file.read_bytes() == b"old" and names(tmp_path) == ["a.bin"]


def test_every_refusal_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot write .*missing/a\.txt"):
        write_atomically(tmp_path / "missing" / "a.txt", "x")
    with pytest.raises(IsADirectoryError, match=f"cannot write {tmp_path}: it is a folder"):
        write_atomically(tmp_path, "x")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a device or a pipe"):
        write_atomically(tmp_path / "pipe", "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_what_the_umask_leaves_and_an_old_one_keeps_its_own(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "new", "x")
        with replacing_folder(tmp_path / "folder") as staging:
            (staging / "inside").write_text("x")
        (tmp_path / "old").write_text("x")
        (tmp_path / "old").chmod(0o640)
        write_atomically(tmp_path / "old", "y")
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "old", "folder", "folder/inside")}
    assert modes == {"new": mode, "old": 0o640, "folder": 0o777 & ~mask, "folder/inside": mode}


def test_links_are_replaced_and_what_lies_behind_them_stays(tmp_path):
    target, link, twin = tmp_path / "target", tmp_path / "link", tmp_path / "twin"
    target.write_text("precious")
    link.symlink_to(target)
    os.link(target, twin)
    write_atomically(link, "new")
    write_atomically(twin, "newer")
    assert (target.read_text(), link.read_text(), twin.read_text()) == ("precious", "new", "newer")
    assert not link.is_symlink()


def test_leftovers_go_at_the_next_write_of_the_same_name_only(tmp_path):
    for name in (".partial-0123abcd-a.csv", ".partial-0123abcd-b.csv", ".partial-xyz-a.csv"):
        (tmp_path / name).write_text("half")
    with replacing(tmp_path / "a.csv"):
        # A second writer of the name leaves alone what the first still writes.
        write_atomically(tmp_path / "a.csv", "whole")
        assert len(names(tmp_path)) == 4
    assert names(tmp_path) == [".partial-0123abcd-b.csv", ".partial-xyz-a.csv", "a.csv"]


def test_names_at_the_limit_of_the_file_system(tmp_path):
    name = "ä" * 120 + ".csv.gz"
    with replacing(tmp_path / name) as partial:
        assert partial.name.endswith(".csv.gz")
    (partial).write_text("left")
    write_atomically(tmp_path / name, "x")
    assert names(tmp_path) == [name]


def test_a_folder_keeps_what_is_not_rewritten_and_links_lead_nowhere_new(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("precious")
    with replacing_folder(tmp_path / "real") as staging:
        (staging / "a").write_text("1")
        (staging / "link").symlink_to(outside)
    (tmp_path / "name").symlink_to("real")
    with replacing_folder(tmp_path / "name") as staging:
        write_atomically(staging / "link", "own")
    assert (tmp_path / "name").is_symlink() and names(tmp_path) == ["name", "outside", "real"]
    assert (tmp_path / "real" / "a").read_text() == "1" and (tmp_path / "real" / "link").read_text() == "own"
    assert outside.read_text() == "precious"


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_that_fails_stays_as_it_was(tmp_path, monkeypatch, exchange):
    folder = tmp_path / "r"
    with replacing_folder(folder) as staging:
        (staging / "a").write_text("old")
    if not exchange:
        monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    with pytest.raises(OSError, match=f"cannot write {folder}: No space"), replacing_folder(folder) as staging:
        (staging / "a").write_text("new")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (folder / "a").read_text() == "old" and names(tmp_path) == ["r"]
    with replacing_folder(folder) as staging:
        (staging / "a").write_text("new")
    assert (folder / "a").read_text() == "new" and names(tmp_path) == ["r"]


def test_a_kill_between_two_renames_is_undone(tmp_path):
    """Where the system cannot exchange two names, the old folder is aside for a moment."""
    (tmp_path / ".retired-r").mkdir()
    (tmp_path / ".retired-r" / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "r"):
        1 / 0  # noqa: B018
    assert names(tmp_path) == ["r"] and (tmp_path / "r" / "a").read_text() == "old"


def write_folder(path: str, number: int) -> None:
    with replacing_folder(path) as staging:
        for name in "abc":
            (staging / name).write_text(str(number) * 1000)


def write_files(path: str, number: int) -> None:
    for _ in range(10):
        write_atomically(path, str(number) * 100_000)


@pytest.mark.parametrize("write", [write_folder, write_files])
def test_writers_of_one_name_do_not_mix_and_readers_see_whole_content(tmp_path, write):
    """Four processes and four threads write; what is read meanwhile is always of one of them."""
    path = tmp_path / "target"
    write(str(path), 9)
    writers = [PROCESSES.Process(target=write, args=(str(path), k)) for k in range(4)]
    writers += [threading.Thread(target=write, args=(str(path), k)) for k in range(4, 8)]
    for writer in writers:
        writer.start()
    n_reads = 0
    while any(writer.is_alive() for writer in writers) or not n_reads:
        descriptor = os.open(path, os.O_RDONLY)  # the folder or file of this moment, whatever its name becomes
        try:
            seen = set()
            for name in "abc" if path.is_dir() else [""]:
                file = os.open(name, os.O_RDONLY, dir_fd=descriptor) if name else os.dup(descriptor)
                with open(file) as handle:
                    seen |= set(handle.read())
            assert len(seen) == 1
            n_reads += 1
        except FileNotFoundError:
            pass  # replaced and removed while it was read
        finally:
            os.close(descriptor)
    for writer in writers:
        writer.join()
    assert all(w.exitcode == 0 for w in writers[:4])
    assert names(tmp_path) == ["target"]


def write_slowly(path: str) -> None:
    with replacing_folder(path) as staging:
        for k in range(1000):
            (staging / f"new{k}").write_text("x")
            time.sleep(0.001)


def test_a_killed_writer_of_a_folder_leaves_the_old_one_and_the_next_cleans_up(tmp_path):
    write_folder(str(tmp_path / "r"), 1)
    writer = PROCESSES.Process(target=write_slowly, args=(str(tmp_path / "r"),))
    writer.start()
    while len(names(tmp_path)) < 2:
        time.sleep(0.001)
    writer.kill()
    writer.join()
    assert len(names(tmp_path)) == 2 and names(tmp_path / "r") == ["a", "b", "c"]
    write_folder(str(tmp_path / "r"), 2)
    assert names(tmp_path) == ["r"] and (tmp_path / "r" / "a").read_text() == "2" * 1000

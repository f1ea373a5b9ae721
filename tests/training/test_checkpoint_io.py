"""A checkpoint is whole, whatever happens while it is written."""

import builtins
import errno
import io
import multiprocessing
import os
import random
import time

import pytest
import torch

from icl import atomic
from icl.training.checkpoint_io import WholeCheckpointIO

N_KILLS = 8


def content(number: int) -> dict:
    return {"number": number, "state": torch.full((200_000,), float(number))}


def assert_whole(path) -> int:
    """The number that the file holds; fails if a part of it is of another."""
    found = torch.load(path, weights_only=True)
    assert torch.equal(found["state"], content(found["number"])["state"])
    return found["number"]


def write_forever(path: str, first: int) -> None:
    """Checkpoints as fast as they come, each written in small pieces, so that a kill falls into a write."""
    torch.set_num_threads(1)
    usual = open

    class Slow(io.BufferedWriter):
        def write(self, data):
            for start in range(0, len(data), 100_000):
                super().write(data[start : start + 100_000])
                self.flush()
                time.sleep(0.001)
            return len(data)

    builtins.open = lambda path, mode, *args: Slow(io.FileIO(path, mode)) if mode == "wb" else usual(path, mode, *args)
    for number in range(first, first + 10_000):
        WholeCheckpointIO().save_checkpoint(content(number), path)


def test_a_process_killed_while_it_writes_leaves_a_whole_checkpoint(tmp_path):
    path, draw = tmp_path / "last.ckpt", random.Random(0)
    # A server that has imported everything forks the writers: a new one costs milliseconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lean", "torch", "pytest", "icl.training.checkpoint_io"])
    partial, numbers = 0, [-1]
    for _ in range(N_KILLS):
        before = numbers[-1]
        writer = context.Process(target=write_forever, args=(str(path), before + 1), daemon=True)
        writer.start()
        deadline = time.monotonic() + 60
        while not (path.exists() and assert_whole(path) > before) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.02))
        writer.kill()
        writer.join()
        numbers.append(assert_whole(path))
        partial += len(os.listdir(tmp_path)) > 1
    assert numbers == sorted(set(numbers))  # every writer got somewhere
    assert partial > 0  # some kill did fall into a write
    WholeCheckpointIO().save_checkpoint(content(7), path)
    assert assert_whole(path) == 7 and os.listdir(tmp_path) == ["last.ckpt"]


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint(content(1), path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*before it is whole") as caught:
        WholeCheckpointIO().save_checkpoint(content(2), path)
    assert caught.value.errno == errno.ENOSPC
    assert assert_whole(path) == 1 and os.listdir(tmp_path) == ["last.ckpt"]


def test_the_first_checkpoint_makes_its_folder_and_a_refusal_names_the_path(tmp_path):
    path = tmp_path / "new" / "folder" / "last.ckpt"
    WholeCheckpointIO().save_checkpoint(content(3), path)
    assert assert_whole(path) == 3
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="there is none before it"):
        WholeCheckpointIO().save_checkpoint(content(4), tmp_path / "file" / "last.ckpt")

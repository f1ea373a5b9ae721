"""Killed at any moment, a command leaves the earlier file or the whole new one, and the next run cleans up."""

import io
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import pandas as pd
import pytest

from icl.commands.main import main


def forked(work) -> int:
    """The process id of a child that has imported everything, does `work` and ends with what it gives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of newer Pythons: no thread of ours holds a lock here
        child = os.fork()
    if child:
        return child
    code = 70
    try:
        code = work()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def inode(path) -> int:
    return os.stat(path).st_ino


@pytest.fixture
def tables(tmp_path, monkeypatch, tiny_release):
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"x": range(400), "k": ["a", "b"] * 200})
    table.assign(y=table["x"] * 1.5).to_csv("train.csv", index=False)
    table.to_csv("test.csv", index=False)
    table.assign(y=(table["x"] * 1.5).where(table["x"] % 2 == 0)).to_csv("half.csv", index=False)
    return tmp_path


def command(name: str, release) -> list[str]:
    if name == "estimate":
        return ["estimate", "half.csv", "--outcome", "y", "--predictor", "none", "--output", "o.csv"]
    quick = ["--checkpoint", str(release), "--members", "1", "--companions", "none", "--no_check"]
    return ["predict", "train.csv", "test.csv", "--target", "y", *quick, "--output", "o.csv"]


@pytest.mark.skipif(os.name != "posix", reason="fork and kill -9")
@pytest.mark.parametrize("name", ["predict", "estimate"])
def test_killed_at_random_moments(name, tables, tiny_release, capsys):
    """Children that write again and again are killed, each after its first file."""
    arguments, draw = command(name, tiny_release), random.Random(0)
    assert main(arguments) == 0
    whole = Path("o.csv").read_bytes()

    def write_for_ever():
        while True:
            main(arguments)

    for _ in range(4):
        before, patience = inode("o.csv"), time.monotonic() + 60
        child = forked(write_for_ever)
        while inode("o.csv") == before and time.monotonic() < patience:
            time.sleep(0.01)
        is_replaced = inode("o.csv") != before
        time.sleep(draw.uniform(0.0, 0.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert is_replaced and Path("o.csv").read_bytes() == whole
    assert main(arguments) == 0
    assert sorted(os.listdir(tables)) == ["half.csv", "o.csv", "test.csv", "train.csv"]


@pytest.mark.skipif(os.name != "posix", reason="resource limits")
@pytest.mark.parametrize("name", ["predict", "estimate"])
def test_a_full_disk_is_named_and_leaves_the_earlier_file(name, tables, tiny_release):
    """A limit on the size of files fails a write as a full disk does."""
    (tables / "o.csv").write_text("earlier")

    def write_on_a_full_disk():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        # What is printed is no file of the command's, and longer than the limit.
        sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
        code = main(command(name, tiny_release))
        os.write(end, sys.stderr.getvalue().encode())
        return code

    start, end = os.pipe()
    child = forked(write_on_a_full_disk)
    os.close(end)
    with open(start, encoding="utf-8") as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == 1 and "cannot write o.csv" in said and "Traceback" not in said, said
    assert (tables / "o.csv").read_text() == "earlier"
    assert sorted(os.listdir(tables)) == ["half.csv", "o.csv", "test.csv", "train.csv"]

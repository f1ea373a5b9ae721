"""Killed at any moment, a command leaves the earlier file or the whole new one, and the next run cleans up."""

import os
import subprocess
import sys

import pandas as pd
import pytest

from icl.commands.main import main

# Loads everything by a first run, then kills children that write again and again, each after its first file; prints how
# many files were whole, and how many children had replaced one.
KILLING = """
import os, random, signal, sys, time
from icl.commands.main import main
n_kills, arguments = int(sys.argv[1]), sys.argv[2:]
assert main(arguments) == 0
whole, draw, n_whole, n_replaced = open("o.csv", "rb").read(), random.Random(0), 0, 0
for _ in range(n_kills):
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = open(os.devnull, "w")
        while True:
            main(arguments)
    before, patience = os.stat("o.csv").st_ino, time.monotonic() + 60
    while os.stat("o.csv").st_ino == before and time.monotonic() < patience:
        time.sleep(0.01)
    n_replaced += os.stat("o.csv").st_ino != before
    time.sleep(draw.uniform(0.0, 0.2))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    n_whole += open("o.csv", "rb").read() == whole
print(n_whole, n_replaced)
"""


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
def test_killed_at_random_moments(name, tables, tiny_release):
    args = [sys.executable, "-W", "ignore", "-c", KILLING, "4", *command(name, tiny_release)]
    done = subprocess.run(args, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "4 4"
    assert main(command(name, tiny_release)) == 0
    assert sorted(os.listdir(tables)) == ["half.csv", "o.csv", "test.csv", "train.csv"]


@pytest.mark.skipif(os.name != "posix", reason="resource limits")
@pytest.mark.parametrize("name", ["predict", "estimate"])
def test_a_full_disk_is_named_and_leaves_the_earlier_file(name, tables, tiny_release):
    """A limit on the size of files fails a write as a full disk does."""
    code = (
        "import resource, sys; from icl.commands.main import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); sys.exit(main(sys.argv[1:]))"
    )
    (tables / "o.csv").write_text("earlier")
    args = [sys.executable, "-c", code, *command(name, tiny_release)]
    done = subprocess.run(args, capture_output=True, text=True)
    assert done.returncode == 1 and "cannot write o.csv" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert (tables / "o.csv").read_text() == "earlier"
    assert sorted(os.listdir(tables)) == ["half.csv", "o.csv", "test.csv", "train.csv"]

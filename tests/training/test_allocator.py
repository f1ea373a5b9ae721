"""Memory kept from step to step: what jemalloc is told, and what it then does."""

import ctypes.util
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest

from icl.training import allocator
from icl.training.allocator import KeepMemory, memory_of_machine, resident_bytes

TRAINER = SimpleNamespace(num_devices=2)


class Calls(list):
    """A jemalloc of three arenas that writes down what it is told."""

    def __call__(self, name, out, size, value, n):
        if name == b"arenas.narenas":
            out._obj.value = 3
        self.append((name.decode(), value and value._obj.value))
        return 0


@pytest.fixture
def calls(monkeypatch):
    calls = Calls()
    monkeypatch.setattr(allocator, "jemalloc_control", lambda: calls)
    return calls


def step(callback):
    callback.on_train_batch_end(TRAINER, None, None, None, 0)


def test_every_arena_keeps_what_is_freed(calls, capsys):
    KeepMemory().on_train_start(TRAINER, None)
    kept = {f"{a}.{s}_decay_ms" for a in ("arenas", "arena.0", "arena.1", "arena.2") for s in ("dirty", "muzzy")}
    assert {name: value for name, value in calls if "decay" in name} == dict.fromkeys(kept, -1)


@pytest.mark.parametrize(("most", "n_purges"), [(0.5, 1), (2.0, 0)])
def test_memory_goes_back_beyond_the_limit(calls, most, n_purges):
    callback = KeepMemory(most_gb=most * resident_bytes() / 1e9)
    callback.on_train_start(TRAINER, None)
    step(callback)
    assert [name for name, _ in calls].count("arena.4096.purge") == n_purges


def test_the_limit_is_a_share_of_the_machine(calls, monkeypatch):
    callback = KeepMemory()
    callback.on_train_start(TRAINER, None)
    for share, n_purges in ((0.34, 0), (0.36, 1)):
        monkeypatch.setattr(allocator, "resident_bytes", lambda share=share: share * memory_of_machine())
        step(callback)
        assert [name for name, _ in calls].count("arena.4096.purge") == n_purges


def test_without_jemalloc_nothing_is_done(monkeypatch):
    monkeypatch.setattr(allocator, "jemalloc_control", lambda: None)
    monkeypatch.setattr(allocator, "resident_bytes", lambda: pytest.fail("asked"))
    callback = KeepMemory()
    callback.on_train_start(TRAINER, None)
    step(callback)


def test_it_travels_to_other_processes(calls):
    assert pickle.loads(pickle.dumps(KeepMemory(most_gb=2.0))).most_gb == 2.0


def test_a_limit_is_positive():
    with pytest.raises(ValueError, match="most_gb must be positive, got 0"):
        KeepMemory(0)


SCRIPT = """
import torch
from types import SimpleNamespace
from icl.training.allocator import KeepMemory, resident_bytes
at = lambda: resident_bytes() / 1e6
callback, trainer = KeepMemory(most_gb=(at() + 300) / 1e3), SimpleNamespace(num_devices=1)
callback.on_train_start(trainer, None)
def run(n):
    kept = [torch.ones(2_500_000) for _ in range(n)]
    del kept
    callback.on_train_batch_end(trainer, None, None, None, 0)
    return at()
start = at()
print(run(20) - start, run(60) - start)
"""


@pytest.mark.skipif(ctypes.util.find_library("jemalloc") is None, reason="jemalloc is not installed")
def test_jemalloc_keeps_200_mb_and_gives_600_back():
    environment = {**os.environ, "LD_PRELOAD": ctypes.util.find_library("jemalloc")}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    few, many = map(float, run.stdout.split())
    assert few > 150 and many < 100

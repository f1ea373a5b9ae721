"""Training that ends on time."""

import time
from types import SimpleNamespace

import pytest
import torch
from training_runs import state_of, tiny_configuration

from icl.releases.folder import load_release
from icl.training import deadline
from icl.training.configuration import built
from icl.training.deadline import Deadline
from icl.training.optim import OptimConfig

pytestmark = pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")


def rates(paces: list[float], minutes: float, optim: OptimConfig, monkeypatch) -> tuple[list[float], float]:
    """Rate after each step of a run whose steps take these seconds, and when it ended."""
    now = [0.0]
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=lambda: now[0]))
    loop = SimpleNamespace(max_steps=60_000)
    trainer = SimpleNamespace(global_step=0, world_size=1, fit_loop=SimpleNamespace(epoch_loop=loop))
    callback = Deadline(minutes)
    callback.on_train_start(trainer, None)
    found = []
    while trainer.global_step < loop.max_steps:
        now[0] += paces[trainer.global_step % len(paces)]
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, None, None, None, 0)
        found.append(optim.rate_at(trainer.global_step, loop.max_steps))
    return found, now[0]


@pytest.mark.parametrize(
    "paces", [[0.1], [0.05, 0.05, 0.05, 0.25], [2.0] + 63 * [0.05]], ids=["even", "uneven", "draws"]
)
def test_the_rate_has_fallen_to_nothing_when_time_is_up(paces, monkeypatch):
    found, end = rates(paces, 2.0, OptimConfig(warmup_steps=1, decay_share=0.25), monkeypatch)
    assert 118 - max(paces) < end <= 120 + max(paces)
    half = found[: len(found) // 2]
    assert min(half) == 1.0 and found[-1] < 0.03
    falls = sum(rate < 1 for rate in found) / len(found)
    assert 0.15 < falls < 0.35  # the last quarter


def test_a_run_ends_on_time_with_a_release(tmp_path):
    config = tiny_configuration(tmp_path, 100_000)
    callbacks = config["trainer"]["callbacks"]
    callbacks.insert(0, {"class_path": "icl.training.deadline.Deadline", "init_args": {"minutes": 0.01}})
    with torch.random.fork_rng(devices=[]):
        run = built(config)
        start = time.monotonic()
        run.trainer.fit(run.module, run.data)
    assert time.monotonic() - start < 30
    assert 0 < state_of(tmp_path)["global_step"] == run.trainer.max_steps < 1_000
    assert load_release(tmp_path / "release").config.d_embed == 16


def test_no_time_is_refused():
    with pytest.raises(ValueError, match="minutes must be positive"):
        Deadline(0)

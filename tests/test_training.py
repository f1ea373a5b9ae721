"""Training end to end on a tiny model: resuming, two processes, interruption, the release folder."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from icl.checkpoint import load_release
from icl.module import PretrainingModule
from icl.optim import MuonAdamW, OptimConfig

ROOT = Path(__file__).parents[1]
TINY = [
    "--model.model={d_embed: 16, n_layers: 1, n_heads: 2, n_thinking_rows: 2, n_bins: 16}",
    "--data.shapes={n_cells: 300, rows: [16, 32], features: [1, 4]}",
    "--data.n_validation_steps=1",
    "--trainer.val_check_interval=4",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


def run_train(folder: Path, *options: str, wait: bool = True):
    """`python train.py fit` with the nano configuration, shrunk, in a process of its own."""
    config = (ROOT / "configs" / "nano.yaml").read_text().replace("runs/nano", str(folder))
    (folder / "config.yaml").write_text(config)
    command = [sys.executable, str(ROOT / "train.py"), "fit", "--config", str(folder / "config.yaml"), *TINY, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if not wait:
        return process
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-3000:]
    return output


def state_of(folder: Path) -> dict:
    # Our own file, written seconds ago.
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=False)


def assert_same_state(left: dict, right: dict) -> None:
    assert left["global_step"] == right["global_step"]
    for part in ("state_dict", "current_model_state"):
        for name, value in left[part].items():
            assert_close(value, right[part][name], rtol=0, atol=0, msg=lambda m, n=name: f"{n}: {m}")


SINGLE = ["--trainer.devices=1", "--trainer.strategy=auto"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of eight steps by one process."""
    folder = tmp_path_factory.mktemp("finished")
    run_train(folder, *SINGLE, "--trainer.max_steps=8")
    return folder


def test_a_run_ends_with_a_release(finished):
    model = load_release(finished / "release")
    assert model.config.d_embed == 16
    assert all(p.isfinite().all() for p in model.parameters())
    provenance = json.loads((finished / "release" / "provenance.json").read_text())
    assert provenance["steps"] == 8 and provenance["tasks_seen"] >= 24 and provenance["seed"] == 0
    assert "MixturePrior" in (finished / "release" / "training.yaml").read_text()


def test_the_log_holds_losses_and_the_resolved_config_stands_beside_it(finished):
    [log] = finished.glob("log/version_*/metrics.csv")
    frame = pd.read_csv(log)
    assert {"train/classification_loss", "val/regression_loss", "tasks_seen"} <= set(frame.columns)
    assert frame["train/regression_loss"].dropna().between(0, 10).all()
    assert "MixturePrior" in log.with_name("config.yaml").read_text()


def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one(finished, tmp_path):
    """ctrl-C after some step, then `--ckpt_path last`: the same weights to the last bit."""
    process = run_train(tmp_path, *SINGLE, "--trainer.max_steps=8", "--trainer.limit_train_batches=100000", wait=False)
    deadline = time.monotonic() + 120
    log = None
    while time.monotonic() < deadline and process.poll() is None:
        log = next(iter(tmp_path.glob("log/version_*/metrics.csv")), None)
        if log is not None:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output[-3000:]
    interrupted_at = state_of(tmp_path)["global_step"]
    if interrupted_at < 8:
        assert "resume with --ckpt_path last" in output
        assert not (tmp_path / "release").exists()
    run_train(tmp_path, *SINGLE, "--trainer.max_steps=8", "--ckpt_path=last")
    ours, whole = load_release(tmp_path / "release"), load_release(finished / "release")
    for (name, a), b in zip(ours.named_parameters(), whole.parameters(), strict=True):
        assert_close(a, b, rtol=0, atol=0, msg=lambda m, n=name: f"{n}: {m}")


def test_a_run_stopped_between_and_extended_continues_the_stream(finished, tmp_path):
    """Deterministic counterpart of ctrl-C: stop at step 3 of 8 (same schedule), resume, same weights."""
    stop = ["--trainer.callbacks+=tests.helpers.StopAt", "--trainer.callbacks.step=3"]
    environment = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{environment}"
    try:
        run_train(tmp_path, *SINGLE, "--trainer.max_steps=8", *stop)
    finally:
        os.environ["PYTHONPATH"] = environment
    assert state_of(tmp_path)["global_step"] == 3
    run_train(tmp_path, *SINGLE, "--trainer.max_steps=8", "--ckpt_path=last")
    ours, whole = load_release(tmp_path / "release"), load_release(finished / "release")
    for a, b in zip(ours.parameters(), whole.parameters(), strict=True):
        assert_close(a, b, rtol=0, atol=0)


def test_two_processes_train_one_model_on_different_tasks(tmp_path):
    """Lightning's own DDP over gloo; each rank writes what it saw and what it ended with."""
    environment = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{environment}"
    try:
        run_train(
            tmp_path,
            "--trainer.devices=2",
            "--trainer.strategy=ddp",
            "--trainer.max_steps=3",
            "--trainer.callbacks+=tests.helpers.Witness",
            f"--trainer.callbacks.folder={tmp_path}",
        )
    finally:
        os.environ["PYTHONPATH"] = environment
    zero, one = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert zero["shapes"] == one["shapes"] and len(zero["shapes"]) == 3
    for a, b in zip(zero["checksums"], one["checksums"], strict=True):
        assert a != b
    assert zero["weights"].keys() == one["weights"].keys()
    for name, value in zero["weights"].items():
        assert_close(value, one["weights"][name], rtol=0, atol=0)
    assert zero["tasks_seen"] == one["tasks_seen"] == 2 * sum(s[0] for step in zero["shapes"] for s in step)


def test_a_loss_that_is_not_finite_stops_the_run_with_advice():
    module = PretrainingModule({"d_embed": 16, "n_layers": 1, "n_heads": 2})
    module.trainer = type("Trainer", (), {"global_step": 7, "world_size": 1})()
    module.log = lambda *args, **kwargs: None
    with torch.no_grad():
        for parameter in module.model.parameters():
            parameter.fill_(torch.nan)
    from icl.data import sample_step
    from priors import MixturePrior, ShapeSampler

    batches = sample_step([MixturePrior()], ShapeSampler(), seed=0, step=0)
    with pytest.raises(FloatingPointError, match=r"loss became nan at step.*resume"):
        module.training_step(batches, 0)


def test_schedule_warms_up_holds_and_decays_to_zero():
    config = OptimConfig(warmup_steps=10, decay_share=0.2)
    rates = [config.rate_at(step, 100) for step in range(101)]
    assert rates[0] == 0.1 and rates[9] == 1 and rates[80] == 1 and math.isclose(rates[90], 0.5) and rates[100] == 0
    assert config.rate_at(10_000, -1) == 1
    with pytest.raises(ValueError, match="lr_muon"):
        OptimConfig(lr_muon=0)


def test_the_optimiser_moves_every_parameter_and_its_state_round_trips():
    module = PretrainingModule({"d_embed": 16, "n_layers": 1, "n_heads": 2})
    optimizer = MuonAdamW(module.model, OptimConfig())
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in module.model.parameters()}
    before = [p.detach().clone() for p in module.model.parameters()]
    for p in module.model.parameters():
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, module.model.parameters(), strict=True))
    other = MuonAdamW(module.model, OptimConfig())
    other.load_state_dict(optimizer.state_dict())
    assert len(other.state_dict()["muon"]["state"]) == len(optimizer.state_dict()["muon"]["state"]) > 0

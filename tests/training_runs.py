"""Runs of train.py on a tiny model, for the tests: in this process where they can be, else in one of their own."""

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import torch

ROOT = Path(__file__).parents[1]
TINY = [
    "--model.model={d_embed: 16, n_layers: 1, n_heads: 2, n_thinking_rows: 2, n_bins: 16}",
    "--data.shapes={n_cells: 300, rows: [16, 32], features: [1, 4]}",
    "--data.n_validation_steps=1",
    "--data.n_family_batches=0",
    "--data.validate_on_real_tables=false",
    "--trainer.val_check_interval=4",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
SINGLE = ["--trainer.devices=1", "--trainer.strategy=auto"]


def write_config(folder: Path, name: str = "nano", changes: dict[str, str] | None = None) -> Path:
    """The configuration `name`, its text changed, with outputs in `folder` and a checkpoint after every step."""
    text = (ROOT / "configs" / f"{name}.yaml").read_text().replace(f"runs/{name}", str(folder))
    for interval in ("0:3:0", "0:4:0"):
        text = text.replace(f'train_time_interval: "{interval}"', "every_n_train_steps: 1")
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    (folder / "config.yaml").write_text(text)
    return folder / "config.yaml"


def run(args: list[str], callbacks: list | None = None) -> None:
    """`python train.py ARGS`, but in this process."""
    from train import main

    # Lightning seeds everything, leaves its seed in the environment, and suspects the arguments of pytest.
    before = dict(os.environ)
    try:
        with torch.random.fork_rng(devices=[]), mock.patch.object(sys, "argv", ["train.py"]):
            main(args, callbacks=callbacks)
    finally:
        os.environ.clear()
        os.environ.update(before)


def fit(folder: Path, *options: str, callbacks: list | None = None, changes: dict[str, str] | None = None) -> None:
    """A tiny run of one process, this one."""
    run(["fit", "--config", str(write_config(folder, changes=changes)), *TINY, *SINGLE, *options], callbacks)


def start(folder: Path, *options: str) -> subprocess.Popen:
    """`python train.py fit` in a process of its own (and of its ranks)."""
    command = [sys.executable, str(ROOT / "train.py"), "fit", "--config", str(write_config(folder)), *TINY, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen, timeout: float = 300) -> str:
    """What the process printed; fails if it did."""
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, output[-3000:]
    return output


def state_of(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)


def assert_same_state(left: dict, right: dict, atol: float = 0.0) -> None:
    """Weights, averages and optimiser to the last bit (or within `atol`), and the same progress."""
    assert left["global_step"] == right["global_step"]
    assert left["progress"]["tasks_seen"] == right["progress"]["tasks_seen"]
    for part in ("state_dict", "current_model_state", "optimizer_states", "averaging_state"):
        ours, theirs = list(_tensors(left[part])), list(_tensors(right[part]))
        assert len(ours) == len(theirs) > 0
        for (name, a), (_, b) in zip(ours, theirs, strict=True):
            same = torch.equal(a, b) or (atol and torch.allclose(a, b, rtol=0, atol=atol))
            assert same, f"{part}: {name} differs by {(a.double() - b.double()).abs().max():g}"


def _tensors(tree, name: str = ""):
    if isinstance(tree, torch.Tensor):
        yield name, tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from _tensors(value, f"{name}.{key}")
    elif isinstance(tree, (list, tuple)):
        for k, value in enumerate(tree):
            yield from _tensors(value, f"{name}.{k}")

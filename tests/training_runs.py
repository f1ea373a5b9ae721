"""Runs of train.py on a tiny model, for tests: in this process where they can be, else in others."""

import gc
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from icl.training import throughput

ROOT = Path(__file__).parents[1]
# Forks of one process that has imported everything: an import of torch and lightning takes longer than a tiny run.
_FORKS = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
_IMPORTED = [
    "lean", "train", "helpers", "training_runs", "torch._dynamo", "torch.distributed", "lightning.pytorch.strategies",
    "icl.finetuning.run", "pytest", "torch.utils.tensorboard", "parsed",
]  # fmt: skip
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


def tiny_configuration(folder: Path, max_steps: int, **trainer) -> dict:
    """The same as a configuration for `icl.training.configuration`: a checkpoint after every step, a log, a release."""
    from icl.training.configuration import overlaid, read_configuration

    tiny = {
        "model": {"model": {"d_embed": 16, "n_layers": 1, "n_heads": 2, "n_thinking_rows": 2, "n_bins": 16}},
        "data": {
            "shapes": {"n_cells": 300, "rows": [16, 32], "features": [1, 4]},
            "n_validation_steps": 1,
            "n_family_batches": 0,
            "validate_on_real_tables": False,
        },
        "trainer": {
            "devices": 1,
            "strategy": "auto",
            "max_steps": max_steps,
            "log_every_n_steps": 1,
            "limit_val_batches": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    }
    return overlaid(overlaid(read_configuration(write_config(folder)), tiny), {"trainer": trainer})


def run(args: list[str], callbacks: list | None = None) -> None:
    """`python train.py ARGS`, but in this process."""
    from train import main

    # Lightning seeds everything, leaves its seed in the environment, and suspects the arguments of pytest.
    before = dict(os.environ)
    try:
        with torch.random.fork_rng(devices=[]), mock.patch.object(sys, "argv", ["train.py"]), _peak_at_a_glance():
            main(args, callbacks=callbacks)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _peak_at_a_glance() -> AbstractContextManager:
    """The peak of the processor from two products, not from a fifth of a second of them: so much for every run."""
    return mock.patch.object(throughput, "_CPU_SECONDS", 0.02)


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


def fork(folder: Path, *options: str, n_ranks: int = 1, n_groups: int = 1) -> list[BaseProcess]:
    """`python train.py fit` by `n_ranks` processes, dealt to groups as to nodes."""
    args = ["fit", "--config", str(write_config(folder)), *TINY, *options]
    return fork_ranks(folder, _fit_of_a_rank, args, n_ranks, n_groups)


def _fit_of_a_rank(args: list[str]) -> None:
    from train import main

    main(args)


def forks() -> BaseContext:
    """A context of processes that are forks of the one that has imported everything."""
    _FORKS.set_forkserver_preload(_IMPORTED)
    return _FORKS


def fork_ranks(
    folder: Path, work: Callable[[list[str]], None], args: list[str], n_ranks: int, n_groups: int = 1
) -> list[BaseProcess]:
    """`work(args)` by `n_ranks` processes that are there already when Lightning begins, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(n_ranks)}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    ranks = []
    for rank in range(n_ranks):
        environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": paths}
        if n_ranks > 1:
            node, local = divmod(rank, n_ranks // n_groups)
            environment |= group | {"NODE_RANK": str(node), "LOCAL_RANK": str(local)}
        process = forks().Process(target=_run_rank, args=(work, args, folder, rank, environment), daemon=True)
        with mock.patch.dict(os.environ, environment):  # for the process that imports
            process.start()
        ranks.append(process)
    return ranks


def _run_rank(work: Callable, args: list[str], folder: Path, rank: int, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["train.py"]
    said = os.open(folder / f"said{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    torch.set_num_threads(1)
    gc.freeze()  # what was imported before the fork is no garbage
    rank_zero_only.rank = rank  # as importing Lightning in this environment sets it; it was imported before
    with _peak_at_a_glance():
        work(args)


def join(folder: Path, ranks: list[BaseProcess], timeout: float = 300) -> tuple[list[int | None], str]:
    """Exit codes of the processes, and what they said."""
    for process in ranks:
        process.join(timeout)
    said = "".join((folder / f"said{rank}.txt").read_text() for rank in range(len(ranks)))
    codes = [process.exitcode for process in ranks]
    for process in ranks:
        process.kill()
        process.join()
        process.close()
    return codes, said


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

"""`icl.finetune`: tables of a domain and a checkpoint -> a release that predicts new tables of the domain better."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import logging
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from icl.atomic import write_atomically
from icl.finetuning.config import FinetuneConfig
from icl.finetuning.method import rates
from icl.finetuning.module import Best, FinetuneModule
from icl.finetuning.prepare import Prepared, prepare
from icl.finetuning.rate import find_rate
from icl.finetuning.stream import FinetuneData, task_stream
from icl.releases.fingerprint import row_fingerprints
from icl.releases.folder import save_release, sha256_of
from icl.releases.names import CONFIG, TRAINING, WEIGHTS
from icl.releases.provenance import origin_of
from icl.releases.seen import FILE, described, read_seen, seen_of, to_bytes
from icl.training.callbacks import FinishStepOnInterrupt, StepProgressBar
from icl.training.checkpoint_io import WholeCheckpointIO
from icl.training.export import training_file

HISTORY = "finetuning.csv"
_LAST, _SETTINGS = "last.ckpt", "settings.json"


def finetune(
    checkpoint: str | os.PathLike | None,
    tables: Any,
    config: FinetuneConfig = FinetuneConfig(),  # noqa: B008 - frozen
    *,
    out: str | os.PathLike = "checkpoints/finetuned",
    report: Callable[[str], None] | None = None,
    progress: bool = False,
) -> Path:
    """Train a copy of a checkpoint on tables of a domain; the weights that did best on held-out ones become a release.

    Every table is checked before training starts. Interrupted (ctrl-C, kill, power cut), the same call continues where
    it was, from `OUT.run` beside the release, and ends with the very weights of an uninterrupted run. If no weights do
    better on the held-out tables than the checkpoint's own, these are what is released, and the card says so.

    Args:
        checkpoint: to start from: None for the best one shipped, a name, or a release folder.
        tables: a folder of CSV, TSV, Parquet or Excel files, a file, a DataFrame, a sequence or a dict of DataFrames, a
            Hugging Face dataset (also as `hf://owner/name` or as the folder of `save_to_disk`). Of one or two tables,
            rows are held out; of three or more, whole tables.
        config: target, method, lengths, held-out tables ...
        out: folder of the release; one that is there is replaced.
        report: told what happens, a line at a time.
        progress: show a bar.
    Returns:
        the release folder, with the course of the run in `finetuning.csv` and, for `icl.inference.infer`, the
        fingerprints of all rows that were trained on.
    Raises:
        ValueError, OSError: for what is wrong with tables, options or folders, before anything is trained.
        KeyboardInterrupt: after ctrl-C, when the step is finished and saved.
    Source:
        Fine-tuning of in-context models on real tables: Rubachev et al. (2025), arXiv:2506.08982; replay and L2-SP
        against forgetting: Li et al. (2018), arXiv:1802.01483.
    """
    started = time.monotonic()
    if report is None or vars(rank_zero_only).get("rank"):  # other processes run the same script from its top
        report = lambda line: None
    prepared = prepare(checkpoint, tables, config)
    out = Path(os.path.abspath(Path(out).expanduser()))
    if out.exists() and not (out / CONFIG).is_file():
        raise ValueError(f"{out} exists and is not a release folder; choose another folder for the result.")
    _refuse_inputs(out, prepared.folder, tables)
    run = out.with_name(f"{out.name}.run")
    settings = _settings(prepared)
    before = _resume(run, settings)
    split = prepared.split
    what = f"{len(split.query[0]):,} rows of it" if split.by_rows and len(split.query) == 1 else (
        "rows of each" if split.by_rows else ", ".join(split.names)
    )  # fmt: skip
    report(f"{len(prepared.tables)} table(s), held out: {what}")
    with _quiet():
        lr, trials = _rate(prepared, before, report)
        write_atomically(run / _SETTINGS, json.dumps(settings | {"lr": lr, "trials": trials}, indent=1) + "\n")
        module, trainer = _fit(prepared, lr, run, report, progress)
    if not module.stopped_early and trainer.global_step < prepared.steps:
        raise KeyboardInterrupt(
            f"stopped after step {trainer.global_step} of {prepared.steps}; give the same command to go on"
        )
    if trainer.is_global_zero:
        facts = _facts(prepared, module, trainer, lr, trials, time.monotonic() - started)
        _release(prepared, module.best, facts, out)
        shutil.rmtree(run, ignore_errors=True)
        report(_verdict(module.best))
    trainer.strategy.barrier("released")  # the release is there when any of the processes goes on
    return out


def _refuse_inputs(out: Path, start: Path, tables: Any) -> None:
    """The release takes the place of what lies in `out`."""
    given = [start, *([Path(tables).expanduser()] if isinstance(tables, str | os.PathLike) else [])]
    for source in given:
        if source.exists() and out.resolve() in (source.resolve(), *source.resolve().parents):
            raise ValueError(f"{out} is to become the release, and {source} is read from it; choose another folder.")


def _settings(prepared: Prepared) -> dict[str, Any]:
    """What must be equal for a run to be continued."""
    tables = {}
    for table in prepared.tables:
        rows = row_fingerprints(table.frame)
        # In the order of rows: another order makes other tasks.
        tables[table.name] = hashlib.sha256(rows.tobytes() + str(list(table.frame.columns)).encode()).hexdigest()[:16]
    weights = sha256_of(prepared.folder / WEIGHTS)[:16]
    return {"config": json.loads(json.dumps(asdict(prepared.config))), "checkpoint": weights, "tables": tables}


def _resume(run: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of an interrupted run in the folder, {} if there is none.

    Raises:
        ValueError: if they are others than those of this call.
    """
    file = run / _SETTINGS
    run.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        return {}
    before = json.loads(file.read_text(encoding="utf-8"))
    changed = [f"config {k}: {before['config'].get(k)!r} then, {v!r} now" for k, v in settings["config"].items()
               if before["config"].get(k) != v]  # fmt: skip
    changed += [name for name in ("checkpoint", "tables") if before[name] != settings[name]]
    if changed:
        raise ValueError(
            f"{run} holds an interrupted run that differs from this one ({'; '.join(changed[:4])}). Give the same "
            f"options and tables to go on with it, or delete the folder to start afresh."
        )
    return before


def _rate(prepared: Prepared, before: dict, report: Callable[[str], None]) -> tuple[float, list[dict]]:
    config = prepared.config
    if config.lr is not None:
        return config.lr, []
    if "lr" in before:
        return before["lr"], before["trials"]
    stream = task_stream(prepared.split.training, config, prepared.start.config)
    lr, trials = find_rate(prepared.fresh, stream, prepared.held_out, config, report)
    return lr, [asdict(t) for t in trials]


def _fit(
    prepared: Prepared, lr: float, run: Path, report: Callable[[str], None], progress: bool
) -> tuple[FinetuneModule, L.Trainer]:
    config, interval = prepared.config, prepared.check_every
    optim = rates(config, lr, prepared.steps)
    module = FinetuneModule(prepared.start, config, optim, interval, origin_of(str(prepared.folder)))
    data = FinetuneData(prepared.split.training, prepared.items, config, prepared.start.config)
    # Saved when a validation is over: what is saved knows its result.
    saving = ModelCheckpoint(run, filename="last", enable_version_counter=False, save_on_train_epoch_end=False)
    callbacks = [saving, FinishStepOnInterrupt(interval)]
    trainer = L.Trainer(
        accelerator=config.device,
        devices=config.n_devices,
        # A batch of classes leaves the head for numbers without gradient.
        strategy="auto" if config.n_devices == 1 else "ddp_find_unused_parameters_true",
        max_steps=prepared.steps,
        max_epochs=-1,
        val_check_interval=interval,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=-1,  # the checkpoint itself is the first candidate
        gradient_clip_val=1.0,
        use_distributed_sampler=False,
        logger=False,
        callbacks=callbacks + ([StepProgressBar()] if progress else []),
        enable_progress_bar=progress,
        plugins=[WholeCheckpointIO()],
        enable_model_summary=False,
        default_root_dir=run,
    )
    last = run / _LAST
    if last.is_file():
        report(f"going on with the run in {run}")
    trainer.fit(module, datamodule=data, ckpt_path=last if last.is_file() else None, weights_only=True)
    return module, trainer


def _facts(
    prepared: Prepared, module: FinetuneModule, trainer: L.Trainer, lr: float, trials: list, seconds: float
) -> dict[str, Any]:
    split, best = prepared.split, module.best
    kept = next(line for line in best.history if line["step"] == best.step)
    facts = {
        "finetuned_from": module.ancestor,
        "data": f"synthetic tasks, then {len(split.training)} real table(s)",
        "seed": prepared.config.seed,
        "device": str(trainer.strategy.root_device.type),
        "steps": best.step,
        "tasks_seen": (module.ancestor or {}).get("tasks_seen"),
        "wall_seconds": round(seconds),
        "finetuning": {
            "config": asdict(prepared.config),
            "lr": lr,
            "rate_trials": trials,
            "steps_run": trainer.global_step,
            "best_step": best.step,
            "held_out": "rows" if split.by_rows else split.names,
            "held_out_loss": {"before": best.history[0]["loss"], "after": best.loss},
            "held_out_loss_by_table": {"before": best.history[0]["tables"], "after": kept["tables"]},
            "prior_loss": {"before": best.history[0]["prior"], "after": kept["prior"]},
            "tables": [
                {"name": t.name, "rows": len(t), "columns": len(t.columns), "target": prepared.config.target}
                for t in split.training
            ],
        },
    }
    return facts


def _release(prepared: Prepared, best: Best, facts: dict, out: Path) -> None:
    import pandas as pd

    model = copy.deepcopy(prepared.start)
    model.load_state_dict(best.state)
    config = prepared.config
    seen = read_seen(prepared.folder)  # what the checkpoint had been fine-tuned on before
    seen += seen_of({t.name: t.frame for t in prepared.split.training}, config.target)
    raw = to_bytes(seen)
    facts["fingerprints"] = described(seen, raw)
    lines = [line | {f"held_out/{name}": loss for name, loss in line["tables"].items()} for line in best.history]
    history = pd.DataFrame(lines).drop(columns="tables")
    files = {FILE: raw, HISTORY: history.to_csv(index=False).encode()}
    training = prepared.folder / TRAINING
    if training.is_file():  # what the prior reached still holds
        files |= training_file(training.read_text(encoding="utf-8", errors="replace"))
    save_release(model, out, facts, notes=_verdict(best), files=files)


def _verdict(best: Best) -> str:
    before, history = best.history[0], best.history
    forgot = next(line for line in history if line["step"] == best.step)["prior"] - before["prior"]
    if best.step == 0:
        return (
            f"No step of {history[-1]['step']} did better on the held-out tables than the checkpoint itself (loss "
            f"{before['loss']:.4f}): its weights are kept. More tables of the domain may help."
        )
    return (
        f"Loss on the held-out tables {before['loss']:.4f} -> {best.loss:.4f} nats per query at step {best.step}; on "
        f"tasks of the prior {forgot:+.4f}. The held-out tables chose the step and the rate: for an honest figure use "
        f"`icl compare` on tables that were in neither part."
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's advice: our stream needs no workers, and the rest is said by `report`."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for said in (
                "The '.*_dataloader' does not have many workers",
                "Checkpoint directory .* exists and is not empty",
                "`isinstance.treespec, LeafSpec.` is deprecated",
                "The dataloader, .*, does not have many workers",
                "You are trying to `self.log",
            ):
                warnings.filterwarnings("ignore", said)
            yield
    finally:
        logger.setLevel(level)

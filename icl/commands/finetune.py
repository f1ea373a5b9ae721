"""`icl finetune`: train a checkpoint further on the tables of a domain."""

from __future__ import annotations

import os
import sys
from typing import Literal

from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from icl.commands.console import make_console, read_words, status


# Of the name of `icl.finetune` jsonargparse would look that up, and load torch to print a help.
def finetune_(
    tables: str,
    target: str = "",
    checkpoint: str | None = None,
    out: str = "checkpoints/finetuned",
    task: Literal["auto", "classification", "regression"] = "auto",
    ignore: str = "",
    held_out: str = "",
    method: Literal["full", "last_blocks", "lora"] = "full",
    n_blocks: PositiveInt = 2,
    lora_rank: PositiveInt = 8,
    steps: PositiveInt = 200,
    lr: PositiveFloat | None = None,
    replay: ClosedUnitInterval = 0.25,
    l2_sp: NonNegativeFloat = 10.0,
    max_rows: PositiveInt = 800,
    patience: PositiveInt = 4,
    seed: NonNegativeInt = 0,
    device: str = "auto",
    devices: PositiveInt = 1,
    dry_run: bool = False,
) -> None:
    """Train a checkpoint further on the tables of a domain, so that it predicts new tables of that domain better.

    Every table is checked first; some (of one or two tables, some of their rows) are held out to choose the rate and
    the best step. After ctrl-C the same command goes on. For example:
    icl finetune wards/ --target died --checkpoint nano --out checkpoints/wards

    Args:
        tables: folder of CSV, TSV, Parquet or Excel files, one file, a folder of a Hugging Face dataset, or
            hf://owner/name.
        target: column to predict; without it any column is, another one in each task.
        checkpoint: name of a shipped checkpoint or path of a release folder; default: the best one shipped.
        out: folder of the new checkpoint.
        task: what the target is; "auto" takes text, truth values and up to ten whole numbers for classes.
        ignore: columns to leave out, separated by commas, such as identifiers.
        held_out: tables to hold out, separated by commas; default: a fifth of them at random.
        method: which weights move: all, those of the last blocks, or low-rank additions (merged at the end).
        n_blocks: of last_blocks.
        lora_rank: of lora.
        steps: at most; the run ends early when the held-out tables gain no more.
        lr: peak learning rate; default: the best of three short runs.
        replay: share of the loss on tasks of the synthetic prior, against forgetting.
        l2_sp: pull of the weights back to the checkpoint's, in units of the learning rate.
        max_rows: rows of a task.
        patience: validations without a new best after which the run ends.
        seed: of the held-out choice and the tasks.
        device: auto, cpu, gpu, ...
        devices: processes that train together.
        dry_run: check the tables, say what would be done, the memory and the time, and stop.
    """
    from icl.finetuning import FinetuneConfig, plan
    from icl.finetuning.run import finetune as run

    console = make_console()
    config = FinetuneConfig(
        target=target or None, task=task, ignore=tuple(read_words(ignore)), held_out=tuple(read_words(held_out)),
        method=method, n_blocks=n_blocks, lora_rank=lora_rank, steps=steps, lr=lr, replay=replay, l2_sp=l2_sp,
        max_rows=max_rows, patience=patience, seed=seed, device=device, n_devices=devices,
    )  # fmt: skip
    if dry_run:
        with status("Checking the tables and timing a few steps ..."):
            what = plan(checkpoint, tables, config)
        console.print(str(what), markup=False)
        return
    report = lambda line: console.print(line, markup=False)
    folder = run(checkpoint, tables, config, out=out, report=report, progress=sys.stderr.isatty())
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes one speaks
        console.print(f"wrote {folder}; see how it does: icl compare {checkpoint or 'nano'} {folder} --tables FOLDER")

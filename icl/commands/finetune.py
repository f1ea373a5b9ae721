"""`icl finetune`: train a checkpoint further on the tables of a domain."""

from __future__ import annotations

import os
import sys

from jsonargparse.typing import PositiveInt

from icl.commands.console import make_console, status
from icl.commands.options import refuse_idle
from icl.finetuning.config import FinetuneConfig


def finetune(
    tables: str,
    checkpoint: str | None = None,
    out: str = "checkpoints/finetuned",
    devices: PositiveInt = 1,
    dry_run: bool = False,
    **options,
) -> None:
    """Train a checkpoint further on the tables of a domain, so that it predicts new tables of that domain better.

    Every table is checked first; some (of one or two tables, some of their rows) are held out to choose the rate and
    the best step. After ctrl-C the same command goes on. For example:
    icl finetune wards/ --target died --checkpoint nano --out checkpoints/wards

    Args:
        tables: folder of CSV, TSV, Parquet or Excel files, one file, a folder of a Hugging Face dataset, or
            hf://owner/name.
        checkpoint: name of a shipped checkpoint or path of a release folder; default: the best one shipped.
        out: folder of the new checkpoint.
        devices: processes that train together.
        dry_run: check the tables, say what would be done, the memory and the time, and stop.
    """
    config = FinetuneConfig(n_devices=devices, **options)
    for method, name in (("last_blocks", "n_blocks"), ("lora", "lora_rank")):
        if config.method != method:
            refuse_idle(f"without --method {method}", **{name: (getattr(config, name), getattr(FinetuneConfig, name))})
    if config.held_out:
        refuse_idle("beside --held_out", validation_share=(config.validation_share, FinetuneConfig.validation_share))
    from icl.finetuning.prepare import dry_run as check_and_time
    from icl.finetuning.run import finetune as run
    from icl.pages.escape import terminal

    console = make_console()
    if dry_run:
        with status("Checking the tables and timing a few steps ..."):
            what = check_and_time(checkpoint, tables, config)
        console.print(str(what), markup=False)
        return
    report = lambda line: console.print(terminal(line))
    folder = run(checkpoint, tables, config, out=out, report=report, progress=sys.stderr.isatty())
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes one speaks
        report(f"wrote {folder}; see how it does: icl compare {checkpoint or 'nano'} {folder} --tables FOLDER")


# jsonargparse looks for the shortest address of a function: under this name it would meet `icl.finetune`, and torch.
finetune.__qualname__ = "finetune_command"

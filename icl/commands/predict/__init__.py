"""`icl predict`: a column for the rows of one file from the labelled rows of another."""

from __future__ import annotations

from pathlib import Path

from icl.commands.console import make_console
from icl.commands.options import refuse_idle
from icl.commands.predict.request import Request


def predict(train: str, test: str, **options) -> None:
    """Predict a column for the rows of one file from the labelled rows of another, without training.

    Files are CSV, TSV (also packed), Parquet, Feather or Excel; large test files stream, - is the standard input. Rows
    of the first file without a target are left out. Name one file twice to predict those of its rows that have none. A
    test file that has the target is scored too. `icl inspect` shows how files are read. A folder of Parquet files gives
    a folder of them, each whole or not at all; the same command continues. For example:
    icl predict labelled.csv new.csv --target price --output predicted.csv
    icl predict labelled.csv shards/ --target price --output predicted/ --engine ray

    Args:
        train: file with the labelled rows.
        test: file with the rows to predict, or a folder of Parquet files.
    """
    request = Request(**options)
    if request.engine == "local":
        refuse_idle("without --engine ray", **request.beside_defaults("workers", "gpus"))
    if test != "-" and Path(test).expanduser().is_dir():
        from icl.commands.predict.folder import run_folder

        run_folder(train, Path(test).expanduser(), request, make_console(None))
        return
    from icl.commands.predict.run import run_predict

    run_predict(train, test, request, make_console(request.output))

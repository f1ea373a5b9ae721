"""`icl predict`: a column for the rows of one file from the labelled rows of another."""

from __future__ import annotations

from icl.commands.console import make_console
from icl.commands.predict.request import Request


def predict(train: str, test: str, **options) -> None:
    """Predict a column for the rows of one file from the labelled rows of another, without training.

    Files are CSV, TSV (also .gz), Parquet or Excel; large test files stream. Rows of the first file without a target
    are left out. Name one file twice to predict those of its rows that have none. A test file that has the target is
    scored too.

    Args:
        train: file with the labelled rows.
        test: file with the rows to predict.
    """
    request = Request(**options)
    from icl.commands.predict.run import run_predict

    run_predict(train, test, request, make_console())

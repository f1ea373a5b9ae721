"""`icl predict`: a column for the rows of one file from the labelled rows of another."""

from __future__ import annotations

from typing import Literal

from jsonargparse.typing import NonNegativeInt, OpenUnitInterval, PositiveInt

from icl.commands.console import make_console, read_fractions, read_words


def predict(
    train: str,
    test: str,
    target: str = "",
    output: str | None = None,
    id: str = "",
    task: Literal["auto", "classification", "regression"] = "auto",
    quantiles: str = "",
    interval: OpenUnitInterval | None = None,
    proba: bool = False,
    only_predictions: bool = False,
    checkpoint: str | None = None,
    members: PositiveInt = 4,
    seed: NonNegativeInt = 0,
    check: bool = True,
    fast: bool = False,
) -> None:
    """Predict a column for the rows of one file from the labelled rows of another, without training.

    Files are CSV, TSV (also .gz), Parquet or Excel; large test files stream. Rows of the first file without a target
    are left out. Name one file twice to predict those of its rows that have none. A test file that has the target is
    scored too.

    Args:
        train: file with the labelled rows.
        test: file with the rows to predict.
        target: column to predict.
        output: file for the rows of the test file and their predictions; without it, the first ones are shown.
        id: columns that only name rows, separated by commas; they are no features.
        task: what the target is; "auto" takes text, truth values and up to ten whole numbers for classes.
        quantiles: of a numeric target, fractions separated by commas, such as 0.05,0.5,0.95.
        interval: coverage of conformal intervals (sets of classes for classification), a fraction such as 0.9.
        proba: write the probability of each class.
        only_predictions: write the id columns and the predictions, no other columns.
        checkpoint: name of a shipped checkpoint or path of a release folder; default: the best one shipped.
        members: guises of the table that are averaged; cost grows with it.
        seed: of members and folds.
        check: compare with a linear baseline on the labelled rows first, if there are at most 2,000.
        fast: answer by the checkpoint's distilled reader: several times faster a row, a little less accurate.
    """
    from icl.commands.predict.labelled import Request
    from icl.commands.predict.run import run_predict

    ids = tuple(read_words(id))
    fractions = read_fractions("--quantiles", quantiles)
    options = (output, ids, task, fractions, interval, proba, only_predictions, checkpoint, members, seed, check, fast)
    run_predict(train, test, Request(target, *options), make_console())

"""Two cases that everybody has: a file that was not written for a program, and labels that cost money."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icl.pages.table import Row, Table

if TYPE_CHECKING:
    from icl.commands.demo.hidden import Answer

# Latin-1, semicolons, a decimal comma, a currency, percents, a gap in words, a code with a leading zero.
FILE = (
    b"kunde;datum;umsatz;anteil;plz\n"
    b"M\xfcller;17.02.2023;38.361,86 EUR;19,4 %;04109\n"
    b"Ibsen;03.11.2022;1.204,00 EUR;7,5 %;20095\n"
    b"Rossi;28.06.2023;?;12 %;80331\n"
)
AMBIGUOUS = b"day,amount\n03/04/2024,1\n05/06/2024,2\n"


def file_table() -> Table:
    """What each column of FILE was taken for, and why."""
    from icl.tables.reader import inspect_table

    rows = [Row([str(cell) for cell in row]) for row in inspect_table(FILE).itertuples(index=False)]
    return Table(
        "A file as people have it: semicolons, 38.361,86 EUR, 19,4 %, ?, Latin-1",
        ["column", "taken for", "why", "example"],
        rows,
        n_labels=4,
    )


def file_verdict() -> str:
    """What is said of a file that could be read in two ways."""
    from icl.tables.reader import read_table

    try:
        read_table(AMBIGUOUS)
    except ValueError as error:
        said = str(error).removeprefix("bytes: ")
        return f"What a file does not say is asked about, never guessed: {said}"
    raise AssertionError("03/04/2024 was taken for one of two dates")


def costs(answer: Answer) -> str:
    """How many labels half the width would take, with predictions and without; as of a survey that is planned."""
    from icl.inference import plan

    term = answer.study.terms[0]
    lower, upper = answer.result.interval().loc[term].to_numpy(dtype=float)
    n_rows = 20 * (answer.result.n_labeled + answer.result.n_unlabeled)
    needed = plan(answer.result, float(upper - lower) / 2, term=term, n_rows=n_rows)
    return (
        f"If a label is an interview or a year of follow-up, the question is how many to pay for. Half that interval, "
        f"for the {answer.study.table.name} table's first question and {n_rows:,} people on file: "
        f"{needed.n_labeled:,} labels with predictions, {needed.n_classical:,} without."
    )

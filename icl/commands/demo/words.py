"""The prose of the demonstration, for a reader who has never heard of any of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icl.pages.escape import visible

if TYPE_CHECKING:
    from rich.text import Text

TERM_WORDS = {
    "progression": "mean progression",
    "age": "slope of age",
    "sex": "sex 2 minus sex 1",
    "diagnosis=malignant": "share malignant",
}

LEAD = (
    "One small network, trained once on made-up tables only, reads a few labelled rows of a real table and answers for "
    "the others. Then its answers, right or wrong, help to estimate from few labels with intervals that stay valid."
)

PART_1 = (
    "The network gets the labelled rows (the context) and the rows to predict, and answers in one pass: nothing is "
    "fitted or tuned on the table. Beside it two classical methods learn from the same rows: logistic or ridge "
    "regression (ridge chooses its penalty by cross-validation) and a random forest of 200 trees on one core.",
    "Whoever wins is printed in bold. The idea behind the network is that what it learned from many "
    "tables makes up for the rows it lacks, so it should do best where the context is small.",
)

PART_2 = (
    "For every row the network gives a whole distribution. For {n} diabetes patients outside the context, the picture "
    "shows its median and the band that should hold {band} of the true values; it holds {inside} of them."
)

PART_3 = (
    "Labels are often the expensive part: a biopsy, a year of follow-up. Here all are known, but all except 60, drawn "
    "at random, are hidden from the method. The question is then asked three ways. Labelled rows only: the "
    "textbook answer, valid but wide. Imputed: predictions are filled in and counted as if they had been observed. "
    "Prediction-powered (ppi, ppi++, synsurr, shrunk): predictions of the many unlabelled rows are used, and the 60 "
    "labels measure how wrong the predictions are and correct for it.",
    "No labelled row is predicted from a context that contains it (five folds, inside the call). Plain ppi "
    "trusts predictions fully, so poor ones make its interval wider than that of the labels alone. ppi++ and synsurr "
    "measure how far to trust them. Where predictions carry next to nothing, that measurement itself is noise, so "
    "shrunk, the default, takes off what of it may be chance; see the notes under each question below. The answer from "
    "all labels (bold row, black line) is what the intervals try to hold.",
    "To see whether the intervals keep their promise, one draw is not enough. So 60 random rows are set aside as "
    "context, the rest is declared a population whose answer is known, and 60 labels are drawn from it again and "
    "again; then all that with other rows as context.",
    "The red rows are INVALID. Imputation takes the predictions for facts: it ignores that they may be off, "
    "and counts every unlabelled row as an observation. Its interval looks narrow, and is shown only as a warning.",
)


def opening(checkpoint: str) -> Text:
    """The first lines on the terminal."""
    from rich.text import Text

    said = Text("\n").append("icl demo", "bold").append(" with checkpoint ").append(visible(checkpoint), "bold")
    said.append(", on tables that ship with scikit-learn. The network was trained on made-up tables only; the context ")
    return said.append("rows are all it sees of these.")

"""What `icl predict` is asked for: a field is an option of the command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jsonargparse.typing import NonNegativeFloat, OpenUnitInterval, PositiveInt

from icl.commands.options import ModelOptions
from icl.tables.reading import read_words


@dataclass(frozen=True)
class Request(ModelOptions):
    """Options of `icl predict`."""

    target: str = ""
    """Column to predict."""
    output: str | None = None
    """File for the rows of the test file and their predictions, - for CSV on the standard output; without it, the first
    ones are shown. For a folder, a folder. In CSV, classes that a spreadsheet would calculate (= + - @ and no number)
    get an apostrophe; cells of the test file stay."""
    id: tuple[str, ...] | str = ()
    """Columns that only name rows, separated by commas; they are no features."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the target is; "auto" takes text, truth values and up to ten whole numbers for classes."""
    quantiles: tuple[float, ...] | str = ()
    """Of a numeric target, fractions separated by commas, such as 0.05,0.5,0.95."""
    interval: OpenUnitInterval | None = None
    """Coverage of conformal intervals (sets of classes for classification), a fraction such as 0.9."""
    proba: bool = False
    """Write the probability of each class."""
    only_predictions: bool = False
    """Write the id columns and the predictions, no other columns."""
    check: bool = True
    """Compare with a linear baseline on the labelled rows first, if there are at most 2,000; not within a time
    budget."""
    fast: bool = False
    """Answer by the checkpoint's distilled reader: several times faster a row, a little less accurate."""

    engine: Literal["local", "ray"] = "local"
    """What works on a folder: this process, or the workers of Ray (the extra `ray`), on this machine or a cluster."""
    workers: PositiveInt | None = None
    """Of Ray; default: one on every core."""
    gpus: NonNegativeFloat = 0.0
    """GPUs of each worker of Ray; a fraction shares one."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "id", read_words(self.id))
        object.__setattr__(self, "quantiles", read_fractions("--quantiles", self.quantiles))


def read_fractions(option: str, words: str | tuple[float, ...]) -> tuple[float, ...]:
    """Fractions in (0, 1) from a list with commas, or checked."""
    try:
        numbers = tuple(map(float, read_words(words) if isinstance(words, str) else words))
    except ValueError:
        numbers = (float("nan"),)
    if not all(0 < number < 1 for number in numbers):
        raise ValueError(f"{option} takes fractions in (0, 1) separated by commas, such as 0.05,0.5,0.95; got {words}.")
    return numbers

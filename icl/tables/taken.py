"""What a column of a file is taken for, and why: numbers, dates, yes or no, categories, codes, text, names of rows."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from icl.tables.cells import GAPS, MISSING_WORDS, Coded, all_text, is_text, says_missing, text_of
from icl.tables.dates import SERIAL, AmbiguousDatesError, Dates, are_serials, few_are_dates, look_for_dates
from icl.tables.numbers import (
    Look,
    Numbers,
    are_few,
    few_are_numbers,
    look_beside_numbers,
    look_for_numbers,
    plain_numbers,
    shows_point,
)
from icl.tables.roles import reads_as_text, why_unused

if TYPE_CHECKING:
    import pandas as pd

Format = Numbers | Dates
_ANSWERS = (
    {"yes", "no"}, {"y", "n"}, {"true", "false"}, {"t", "f"}, {"ja", "nein"}, {"j", "n"}, {"wahr", "falsch"},
    {"oui", "non"}, {"vrai", "faux"}, {"si", "no"}, {"sí", "no"}, {"sim", "não"}, {"sì", "no"}, {"ja", "nee"},
    {"ja", "nej"}, {"tak", "nie"}, {"on", "off"},
)  # fmt: skip
# Cells without a letter or digit among several levels that have some: no level, a gap.
_MARKS_ONLY = r"^[?\-–—.…/*]+$"
_STAND_INS = (9, 99, 999, 9_999, 99_999, -9, -99, -999, -9_999, -99_999)
_FEWEST_YEARS, _COMPACT = 3, (19_000_101, 21_001_231)


@dataclass
class Taken:
    """One column: how it is read."""

    name: Any
    kind: str = "category"
    why: str = ""
    format: Format | None = None
    keeps_na: bool = False
    """NA is a level of it: its missing cells are empty."""
    n_words: int = 0
    """Cells of a column of text that say NA and the like, and count as missing."""
    odd: tuple[str, ...] = ()
    """Words in a column of numbers or dates that count as missing."""
    n_odd: int = 0
    answers: dict[str, Any] = field(default_factory=dict)
    """Of yes and no: an answer without regard to case, and what it is read as."""
    notes: list[str] = field(default_factory=list)
    values: Any = None
    look: Look | None = None
    coded: Coded | None = None
    may_be_dates: bool = False

    def counts(self) -> dict[str, int]:
        """How often each text comes that is no gap, in a column that may hold dates."""
        return self.coded.counts() if self.coded is not None and self.may_be_dates else {}


def first_look(column: pd.Series, asked: str = "") -> Taken:
    """What the cells say without regard to other columns: plain numbers, or texts with how often each comes."""
    import pandas as pd

    taken = Taken(column.name)
    if not is_text(column):
        taken.values = column
        return taken
    if asked not in ("category", "text", "date") and all_text(column):
        values = plain_numbers(column)
        if values is not None:
            taken.format, taken.values = Numbers(), pd.Series(values, column.index, name=column.name)
            return taken
    _code(taken, column)
    return taken


def format_in_text(column: pd.Series, name: Any) -> tuple[Format | None, list[str]]:
    """How a column of text writes dates or amounts, None for levels and plain numbers; and what to say of it."""
    if not is_text(column) or not all_text(column):
        return None, []
    coded = Coded.of(column)
    head = coded.head()
    if not head or (few_are_numbers(head) and few_are_dates(head)):
        return None, []
    taken = first_look(column)
    if taken.look is None or not (counts := taken.counts()):
        return None, []
    try:
        decide(taken, column, ".", "auto")
    except AmbiguousDatesError:
        example = next(iter(counts))
        return None, [
            f"column {name!r} holds {example!r}, which may be day/month or month/day, and is read as levels; convert "
            f"it by pd.to_datetime(X[{name!r}], dayfirst=True), or dayfirst=False"
        ]
    return taken.format, []


def shown_marks(taken: Taken, column: pd.Series) -> frozenset[str]:
    """Decimal marks that a column shows beyond doubt."""
    if taken.look is not None:
        return taken.look.marks if not taken.look.why_not else frozenset()
    is_plain = taken.format is not None and taken.values.dtype.kind == "f"
    return frozenset("." if is_plain and shows_point(text_of(column)) else "")


def decide(taken: Taken, column: pd.Series, decimal: str, order: str, asked: str = "") -> None:
    """Set kind, reason, format and values, when the decimal mark of the file is known.

    Raises:
        AmbiguousDatesError: if two orders of day and month fit.
        ValueError: if the column cannot be what it is asked to be.
    """
    if asked in ("category", "text"):
        _as_levels(taken, column, asked)
    elif not is_text(column):
        _by_type(taken, column, asked)
    elif taken.format is not None and not (decimal == "," and taken.values.dtype.kind == "f"):
        _plain(taken, column, order, asked)
    else:
        if taken.format is not None:  # 38.361 is a whole number here
            _code(taken, column)
        _by_words(taken, column, decimal, order, asked)
    if asked in ("number", "date") and taken.kind != asked:
        raise ValueError(f"--columns {taken.name}={asked}: {taken.why or 'its cells are of another kind'}.")
    _note_stand_ins(taken)


def _code(taken: Taken, column: pd.Series) -> None:
    taken.coded = Coded.of(column)
    head = taken.coded.head()
    why_not = few_are_numbers(head)
    taken.may_be_dates = not (why_not and few_are_dates(head))
    taken.look = Look(why_not=why_not) if why_not else look_for_numbers(taken.coded)


def _plain(taken: Taken, column: pd.Series, order: str, asked: str) -> None:
    values = taken.values
    known = values.dropna()
    whole = values.dtype.kind == "i" or (len(known) > 0 and bool((known % 1 == 0).all()))
    if asked != "number" and whole and len(known) and _COMPACT[0] <= known.min() and known.max() <= _COMPACT[1]:
        dates, odd = look_for_dates(Coded.of(column).counts(), taken.name, order)
        if dates is not None:
            _as_dates(taken, column, dates, odd)
            return
    if asked != "number" and are_serials(taken.name, known):
        _as_dates(taken, column, Dates("ymd", SERIAL), ())
        return
    taken.kind = "number"
    taken.why = "whole numbers" if whole else "numbers"
    _say_missing(taken, column)
    _name_of_rows(taken, values)


def _by_type(taken: Taken, column: pd.Series, asked: str) -> None:
    kind = column.dtype.kind
    if asked != "number" and kind in "iuf" and are_serials(taken.name, column.dropna()):
        _as_dates(taken, column, Dates("ymd", SERIAL), ())
        return
    taken.kind = {"b": "yes/no", "M": "date", "m": "number"}.get(kind, "number" if kind in "iuf" else "category")
    taken.why = f"typed {column.dtype} in the file"
    if column.isna().all():
        taken.kind, taken.why = "empty", "no cell is filled"
    _name_of_rows(taken, column)


def _by_words(taken: Taken, column: pd.Series, decimal: str, order: str, asked: str) -> None:
    look = taken.look
    is_listed = column.dtype == object and not all_text(column)
    typed = (
        look_beside_numbers(column, taken.coded or Coded.of(column)) if is_listed and look and look.why_not else None
    )
    look = typed or look
    if look is not None and not look.why_not and asked != "date":
        numbers = look.with_mark(decimal)
        values, wrong = numbers.read(column, taken.coded)
        n_wrong = int(wrong.sum())
        if n_wrong <= 0.05 * len(column) and (n_wrong == 0 or values.nunique() >= 10):
            taken.kind, taken.why, taken.format, taken.values = "number", str(numbers), numbers, values
            if typed:
                taken.why = "numbers in the file"
            _say_missing(taken, column, list(dict.fromkeys(map(str, column[wrong]))), n_wrong)
            return
    if asked != "number" and (counts := taken.counts()):
        dates, odd = look_for_dates(counts, taken.name, order)
        if dates is not None and not (is_listed and dates.read(column, taken.coded)[1].sum() > len(odd)):
            _as_dates(taken, column, dates, odd)
            return
    if is_listed:
        _listed(taken, column)
        return
    _as_levels(taken, column, "")


def _listed(taken: Taken, column: pd.Series) -> None:
    """Cells of several types, or of lists, as Excel and Python have them."""
    import pandas as pd

    coded = taken.coded or Coded.of(column)
    gaps = coded.spread(says_missing(coded.texts).to_numpy(zero_copy_only=False), False)
    known = column[~gaps].dropna()
    words = [str(cell) for cell in known if isinstance(cell, str)]
    dates = known[known.map(lambda cell: isinstance(cell, date)).astype(bool)]  # a datetime is one
    words = [cell for cell in known if isinstance(cell, str)]
    if len(dates) and len(dates) + len(words) == len(known) and are_few(len(words), len(known), dates.nunique()):
        taken.values = pd.to_datetime(dates, errors="coerce").reindex(column.index)
        taken.kind, taken.why = "date", "dates in the file"
        _say_missing(taken, column, list(dict.fromkeys(words)), len(words))
        return
    if len(known) and all(isinstance(cell, bool) for cell in known):
        taken.values = column.mask(gaps)
        taken.kind, taken.why = "yes/no", "true or false"
        _say_missing(taken, column)
        return
    kinds = sorted({type(cell).__name__ for cell in known})
    taken.why = (
        f"cells of several types: {', '.join(kinds)}" if len(kinds) > 1 else f"cells are {''.join(kinds) or 'empty'}"
    )
    taken.values = column


def _as_dates(taken: Taken, column: pd.Series, dates: Dates, odd: tuple[str, ...]) -> None:
    values, wrong = dates.read(column, taken.coded)
    taken.kind, taken.why, taken.format, taken.values = "date", str(dates), dates, values
    if dates.shape in ("compact", SERIAL):
        taken.notes.append(
            f"{taken.name} is taken for {dates}; if these are numbers, say "
            f"--columns {shlex.quote(f'{taken.name}=number')}"
        )
    _say_missing(taken, column, list(odd), int(wrong.sum()))


def _as_levels(taken: Taken, column: pd.Series, asked: str) -> None:
    """Words: levels, codes, answers, text."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    if asked == "category" and not is_text(column):
        taken.kind, taken.why = "category", "as asked"
        taken.values = pd.Series(
            pd.Categorical(column.map(_plain_text, na_action="ignore")), column.index, name=column.name
        )
        return
    coded = taken.coded or Coded.of(column)
    texts = coded.texts
    is_word = pc.is_in(texts, pa.array(MISSING_WORDS, texts.type))
    is_blank, is_mark = pc.equal(texts, ""), pc.match_substring_regex(texts, _MARKS_ONLY)
    levels = pc.unique(texts.filter(pc.invert(pc.or_(pc.or_(is_word, is_blank), is_mark))))
    has_blank = pc.any(is_blank).as_py() or bool((coded.codes < 0).any())
    taken.keeps_na = taken.keeps_na or bool(pc.any(is_word).as_py() and has_blank)
    drop = is_blank
    if not taken.keeps_na:
        drop = pc.or_(drop, is_word)
        taken.n_words = int(coded.spread(is_word.to_numpy(zero_copy_only=False), False).sum())
        if len(levels) > 1 and pc.all(pc.match_substring_regex(levels, r"[\pL\pN]")).as_py():
            drop = pc.or_(drop, is_mark)
    texts = pc.if_else(drop, pa.scalar(None, texts.type), texts)
    has_codes = bool(pc.any(pc.match_substring_regex(levels, r"^[-+]?0\d+$")).as_py())
    levels = levels.to_pylist() if len(levels) < 9 else [levels[0].as_py(), *[""] * (len(levels) - 1)]
    answers = {level.casefold() for level in levels}
    taken.kind, taken.why = "category", f"{len(levels)} different texts"
    if len(answers) == 2 and answers in _ANSWERS and asked == "":
        taken.kind, taken.why = "yes/no", f"answers, {' or '.join(sorted(levels)[:4])}"
        taken.answers = _answers(texts, coded, answers == {"true", "false"})
        taken.values = read_answers(taken, column)
        _say_missing(taken, column)
        return
    values = pd.Series(_words(texts, coded).to_pandas(), name=column.name).set_axis(column.index)
    taken.values = (
        values.astype("category")
        if asked == "category"
        else values
        if values.notna().any()
        else pd.Series(float("nan"), column.index, name=column.name)
    )
    if asked:
        taken.kind, taken.why = asked, "as asked"
    elif not levels:
        taken.kind, taken.why = "empty", "no cell is filled"
    elif has_codes:
        taken.kind, taken.why = "code", "numbers with leading zeros"
    elif taken.look is not None and taken.look.why_not and any(char.isdigit() for char in levels[0]):
        taken.why += f"; not numbers: {taken.look.why_not}"
    _say_missing(taken, column)
    _name_of_rows(taken, values)


def _plain_text(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _words(texts: Any, coded: Coded) -> Any:
    import pyarrow as pa

    return texts.take(pa.array(coded.codes, mask=coded.codes < 0))


def _answers(texts: Any, coded: Coded, is_truth: bool) -> dict[str, Any]:
    """Yes, yes and YES as the one that comes most often; true and false as such."""
    import numpy as np

    if is_truth:
        return {"true": True, "false": False}
    counts = np.bincount(coded.codes[coded.codes >= 0], minlength=len(texts))
    best: dict[str, Any] = {}
    for _, word in sorted((-n, word) for n, word in zip(counts.tolist(), texts.to_pylist()) if word):
        best.setdefault(word.casefold(), word)
    return best


def read_answers(taken: Taken, column: pd.Series) -> pd.Series | None:
    """The column as the answers that it is known to hold; None if it holds others."""
    import numpy as np
    import pandas as pd

    coded = Coded.of(column)
    gaps = {*map(str.casefold, MISSING_WORDS), *GAPS}
    read = [
        taken.answers.get(text.casefold(), None if text.casefold() in gaps else text)
        for text in coded.texts.to_pylist()
    ]
    if any(isinstance(value, str) and value not in taken.answers.values() for value in read):
        return None
    values = coded.spread(np.array([*read, None], object)[:-1], None)
    found = pd.Series(values, column.index, name=column.name)
    return (
        found.infer_objects()
        if found.notna().all() or set(taken.answers.values()) == {True, False}
        else found.astype("str")
    )


def _name_of_rows(taken: Taken, values: pd.Series) -> None:
    if why := why_unused(values):
        taken.kind = why
        taken.why = "every text is different" if is_text(values) else "every number is different, and the name says so"
    elif is_text(values) and reads_as_text(values):
        taken.kind, taken.why = "text", f"{taken.why}, of several words"


def _say_missing(taken: Taken, column: pd.Series, odd: list[str] | None = None, n_odd: int = 0) -> None:
    """The reason, with what counts as missing; words that are no gap by custom get a note."""
    n = int(taken.values.isna().sum()) if taken.values is not None else 0
    if n:
        taken.why += f"; {n} missing"
    if odd:
        taken.odd, taken.n_odd = tuple(odd), n_odd
        shown = ", ".join(map(repr, odd[:3])) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")
        taken.notes.append(f"{taken.name} holds {taken.kind}s, and {shown} ({n_odd} cells), which count as missing")


def _note_stand_ins(taken: Taken) -> None:
    """A note on 999 and the like, far from all other numbers: they may stand for missing cells."""
    values = taken.values
    if taken.kind != "number" or values is None or values.dtype.kind not in "if":
        return
    low, high = values.min(), values.max()
    for stand_in in {low, high}.intersection(_STAND_INS):
        others = values[(values != stand_in) & values.notna()]
        n = int((values == stand_in).sum())
        if n < 2 or others.nunique() < 5:
            continue
        if (stand_in > 0 and others.max() < stand_in / 3) or (stand_in < 0 and others.min() >= 0):
            rest = f"{others.min():g} to {others.max():g}"
            taken.notes.append(
                f"{taken.name} is {stand_in:g} in {n} rows, and {rest} in the others; if it stands for missing cells, "
                f"say --na {shlex.quote(f'{taken.name}={stand_in:g}')}"
            )

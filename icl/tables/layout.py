"""Where the cells of a sheet or a text file are: the mark between them, the row of names, what is no row of a table."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

SEPARATORS = ",;\t|"
BLANKS = " "  # cells are set apart by any number of blanks
_MOST_COLUMNS = 100_000
_HEAD_ROWS = 200
_NUMBER = re.compile(
    r"[-+(]?[$€£]? ?[\d.,' \u00a0]*\d[\d.,' \u00a0]*([eE][-+]?\d+)?\)? ?[%€$]?|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}"
)
_GAP = re.compile(r"[-–—.?]*|n/?a|nan|null|none|#n/?a", re.I)
_UNIT = re.compile(
    r"\[.*\]|\(.*\)|%|°?[CFK]|[kmcµ]?[gmlsVAWJ]|EUR|USD|CHF|GBP|€|\$|.*/.*|.*[²³].*|years?|Jahre?|ans|units?|Einheit",
    re.I,
)


@dataclass(frozen=True)
class Layout:
    """What a reader of cells needs to know."""

    separator: str = ","
    names: tuple[str, ...] = ()
    skip: int = 0
    """Lines before the first row of cells: titles, comments, the names, their units."""
    loose: bool = False
    """Blanks behind separators, or comments between rows: the quick reader does not know them."""
    notes: tuple[str, ...] = ()


def layout_of_text(text: str, separator: str = "") -> Layout:
    """The layout of a text, told from its first part.

    Raises:
        ValueError: for text that is no table.
    """
    skip = 0
    if said := re.match(r"sep=(.)\r?\n", text):
        skip, separator, text = 1, said[1], text[said.end() :]
    comments = [line for line in text[:100_000].splitlines() if line.startswith("#")]
    separator = separator or _separator(text)
    lines = records(io.StringIO(text, newline=None), separator, loose=True)
    rows, ends = [], []
    for end, row in lines:
        rows.append(row)
        ends.append(end)
        if len(rows) == _HEAD_ROWS:
            break
    if rows and len(rows[0]) > _MOST_COLUMNS:
        raise ValueError(f"it has {len(rows[0]):,} columns or more; at most {_MOST_COLUMNS:,} are read.")
    start, names, notes = find_names(rows)
    if not names:
        raise ValueError("it holds no columns; it needs a line with the column names.")
    _refuse_prose(rows, names)
    first = ends[start - 1] if start else 0
    inside = len(comments) > sum(row[0].startswith("#") for row in rows[:start] if row)
    spaced = bool(re.search(rf'{re.escape(separator)}[ \t]+"', text)) if separator not in (BLANKS, "\t") else False
    return Layout(separator, names, skip + first, spaced or inside or separator == BLANKS or "\x00" in text, notes)


def records(
    lines: Iterable[str], separator: str, loose: bool = False, skip: int = 0, whole: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Rows of text and the number of the line after each; `loose` drops blanks behind separators.

    Raises:
        ValueError: if the lines are the `whole` file, and a quote that nothing closes makes its rest one cell.
    """
    source = iter(lines)
    for _ in range(skip):
        next(source, None)
    if separator == BLANKS:
        source = (line.strip() + "\n" for line in source)
    csv.field_size_limit(100_000_000)
    of_row: list[str] = []
    style: dict = {"delimiter": separator, "skipinitialspace": (loose and separator != "\t") or separator == BLANKS}
    reader = csv.reader(_kept(source, of_row) if whole else source, **style)
    while True:
        of_row.clear()
        try:
            row = next(reader)
            if len(of_row) > 1:
                _refuse_open_quote(of_row, skip + reader.line_num, style)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"line {skip + reader.line_num + 1}: {error}") from error
        if row and not (len(row) == 1 and not row[0].strip()):
            yield skip + reader.line_num, row


def _kept(lines: Iterator[str], of_row: list[str]) -> Iterator[str]:
    for line in lines:
        of_row.append(line)
        yield line


def _refuse_open_quote(of_row: list[str], end: int, style: dict) -> None:
    try:
        list(csv.reader(of_row, strict=True, **style))
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise ValueError(
                f"line {end - len(of_row) + 1} opens a quote that is not closed, so that the {len(of_row) - 1} lines "
                "below it would be one cell; close the quote, or double it if it belongs to the text."
            ) from error


def find_names(rows: Sequence[Sequence[str]]) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """How many rows come before the cells, the names of the columns, and what was passed over, in sentences."""
    if not rows:
        return 0, (), ()
    widths = Counter(len(row) for row in rows)
    width = max(widths, key=lambda w: (widths[w], w))
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    usual = sorted(filled)[len(filled) // 2] if len(rows) > 2 else max(filled)
    at, notes = 0, []
    if usual > 1:
        # Titles and comments fill a cell or two; the names nearly as many as rows do.
        while at < min(len(rows) - 1, 30) and _is_above(rows[at], filled[at], usual):
            at += 1
        if at == min(len(rows) - 1, 30) and not _is_names(rows[at]):
            at = 0
    else:
        while at < len(rows) - 1 and rows[at][0].startswith("#"):
            at += 1
    at = _names_below_pairs(rows, at, width) or _names_above_numbers(rows, at, filled, width)
    if at and rows[at - 1][0].startswith("#") and _is_commented(rows[at - 1], rows[at:], width):
        at -= 1
    if at:
        notes.append(
            f"the first {at} lines are titles or comments" if at > 1 else "the first line is a title or comment"
        )
    header = [cell.strip().lstrip("\ufeff") for cell in rows[at]]
    if header and header[0].startswith("#") and at < len(rows):
        header[0] = header[0].lstrip("# ")
    below = rows[at + 1 :]
    if _lacks_names(header, below):
        notes.append("the first line holds cells, no names: columns are called column_1, column_2 ...")
        return at, tuple(f"column_{j + 1}" for j in range(width)), tuple(notes)
    header, said = _fit_width(header, below, width)
    notes += said
    start = at + 1
    if (names_of_two := _two_levels(header, below)) is not None:
        notes.append("names are in two rows: groups, and their members")
        header, start, below = names_of_two, start + 1, below[1:]
    if below and _are_units(below[0], below[1:]):
        notes.append(
            f"the line below the names holds units ({', '.join(c.strip() for c in below[0] if c.strip())[:60]})"
        )
        start += 1
    names, said = _unique(header)
    return start, names, tuple([*notes, *said])


def _names_below_pairs(rows: Sequence[Sequence[str]], at: int, width: int) -> int:
    """The row of names below shorter rows such as `Version;1.2`; 0 if there are none."""
    if len(rows[at]) == width:
        return 0
    for k in range(at + 1, min(len(rows) - 1, 30)):
        if len(rows[k]) == width:
            is_named = _is_names(rows[k]) and all(cell.strip() for cell in rows[k]) and not _is_names(rows[k + 1])
            return k if is_named else 0
    return 0


def _names_above_numbers(rows: Sequence[Sequence[str]], at: int, filled: list[int], width: int) -> int:
    """Names with gaps, such as `,,a`, look like a title; what is below a title must not be numbers."""
    numbers = [cell.strip() for cell in rows[at] if is_number(cell)]
    if at and numbers and not all(re.fullmatch(r"(19|20)\d\d", cell) for cell in numbers):
        for k in range(at - 1, -1, -1):
            if len(rows[k]) == width and filled[k] and _is_names(rows[k]) and not rows[k][0].startswith("#"):
                return k
    return at


def _two_levels(header: list[str], below: Sequence[Sequence[str]]) -> list[str] | None:
    """Names of two rows, groups above members: `A x`, `A y`; None if there is one row of them."""
    if len(below) < 3 or len(below[0]) != len(header) or all(header) or not _is_names(below[0]):
        return None
    members = [cell.strip() for cell in below[0]]
    is_numeric = [all(is_number(row[j]) for row in below[1:20] if len(row) == len(header)) for j in range(len(header))]
    under = [j for j, cell in enumerate(header) if not cell and members[j]]
    if not under or under[0] == 0 or not any(is_numeric[j] for j in under) or len(set(members)) == len(members) > 3:
        return None
    names, group = [], ""
    for top, member in zip(header, members):
        group = top or group
        names.append(f"{group} {member}" if member else top)
    return names


def with_layout_of_rows(rows: Sequence[Sequence[str]]) -> tuple[int, Layout]:
    """The same of rows of a sheet: how many come before the cells, and the layout."""
    start, names, notes = find_names(rows)
    return start, replace(Layout(), names=names, notes=notes)


def is_number(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell.strip()))


def _is_above(row: Sequence[str], n_filled: int, usual: int) -> bool:
    return (
        n_filled == 0
        or row[0].lstrip().startswith(("#", "%", "//"))
        or (n_filled <= max(1, usual // 2) and n_filled < usual)
    )


def _is_names(row: Sequence[str]) -> bool:
    return not any(is_number(cell) for cell in row)


def _is_commented(row: Sequence[str], below: Sequence[Sequence[str]], width: int) -> bool:
    """Whether a comment holds the names: as many as the rows below it have cells, and those are no names."""
    if not (abs(len(row) - width) <= 1 and len(row) > 1 and below and _is_names(row)):
        return False
    return any(is_number(cell) for cell in below[0])


def _lacks_names(header: list[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is one of cells: numbers where numbers are below it, and no years or 0, 1, 2 ..."""
    rows = [row for row in below[:50] if len(row) == len(header)]
    if len(rows) < 2:
        return False
    columns = [
        j for j in range(len(header)) if all(is_number(row[j]) or _GAP.fullmatch(row[j].strip()) for row in rows)
    ]
    numbers = [header[j] for j in columns if is_number(header[j])]
    if not columns or len(numbers) < len(columns) or (len(set(header)) < len(header) and len(columns) < len(header)):
        return False
    whole = [int(cell) for cell in numbers if re.fullmatch(r"\d{1,4}", cell)]
    if len(whole) < len(numbers):
        return True
    steps = {b - a for a, b in pairwise(whole)}
    return not (steps <= {1} or all(1900 <= year <= 2100 for year in whole))


def _fit_width(header: list[str], below: Sequence[Sequence[str]], width: int) -> tuple[list[str], list[str]]:
    """As many names as the rows have cells."""
    while len(header) > width and not header[-1]:
        header = header[:-1]
    if len(header) >= width or not below:
        return header, []
    extra = width - len(header)
    full = [row for row in below if len(row) == width]
    if all(not cell.strip() for row in full for cell in row[-extra:]):
        return [*header, *[""] * extra], []
    if extra == 1:
        return ["", *header], ["rows have a cell more than there are names: the first one is taken to name the row"]
    return [*header, *[""] * extra], [f"{extra} columns at the end have no name"]


def _are_units(row: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether a row holds units: text above every column of numbers, and what looks like one."""
    rows = [r for r in below[:50] if len(r) == len(row)]
    if len(rows) < 2:
        return False
    numeric = [
        j for j in range(len(row))
        if all(is_number(r[j]) or _GAP.fullmatch(r[j].strip()) for r in rows) and any(is_number(r[j]) for r in rows)
    ]  # fmt: skip
    cells = [row[j].strip() for j in numeric]
    if not cells or any(is_number(cell) for cell in cells):
        return False
    said = [cell for cell in cells if not _GAP.fullmatch(cell)]
    return any(_UNIT.fullmatch(cell) for cell in said) and len(said) >= len(cells) / 2


def _unique(header: list[str]) -> tuple[tuple[str, ...], list[str]]:
    """Names that tell columns apart, as pandas makes them."""
    names: list[str] = []
    twice: list[str] = []
    taken = set(header)
    for j, name in enumerate(header):
        name = name or f"Unnamed: {j}"
        if name in names:
            twice.append(name)
            k = 1
            while f"{name}.{k}" in taken:
                k += 1
            name = f"{name}.{k}"
            taken.add(name)
        names.append(name)
    shown = ", ".join(repr(name) for name in dict.fromkeys(twice))
    return tuple(names), [f"several columns are called {shown}: the later ones get a number"] if twice else []


def _separator(text: str) -> str:
    """The mark that parts most rows alike, and a row of names from numbers."""
    best, score = ",", (0.0, 0)
    sample = text[:200_000]
    if len(sample) < len(text) and "\n" in sample:
        sample = sample[: sample.rindex("\n")]
    for mark in SEPARATORS:
        if mark not in sample:
            continue
        rows = []
        for _, row in records(io.StringIO(sample, newline=None), mark, loose=True):
            rows.append(row)
            if len(rows) == 100:
                break
        widths = Counter(len(row) for row in rows)
        width, n = max(widths.items(), key=lambda found: (found[1] * (found[0] > 1), found[0]))
        if width < 2:
            continue
        first = next(row for row in rows if len(row) == width)
        share = n / len(rows) * (1.0 if _is_names(first) else 0.6)
        found = (round(share, 1), width)
        if found > score:
            best, score = mark, found
    if score[0] == 0.0:
        lines = [line.split() for line in sample.splitlines()[:100] if line.strip()]
        width = len(lines[-1]) if lines else 0
        alike = width > 1 and all(len(line) == width for line in lines[1:]) and width - len(lines[0]) in (0, 1)
        if alike and len(lines) > 2 and any(map(is_number, lines[1])):
            return BLANKS
    return best


def _refuse_prose(rows: Sequence[Sequence[str]], names: tuple[str, ...]) -> None:
    """ValueError for a text without columns."""
    if len(names) > 1 or len(rows) < 2:
        return
    words = [len(row[0].split()) for row in rows]
    if sum(words) / len(words) >= 4 and not any(is_number(row[0]) for row in rows):
        raise ValueError(
            f"it is one column of text ({rows[0][0][:40]!r} ...), with no mark between cells; a table needs a line "
            f"with the names of its columns, and cells set apart by commas, semicolons, tabs or |."
        )

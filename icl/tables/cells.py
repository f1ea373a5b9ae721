"""Numbers and dates that people write as text: what a column of them means, and its cells as numbers and dates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# Cells that pandas reads as missing wherever they stand ...
MISSING_WORDS = ["NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A", "#NA"]
# ... and those that mean it in a column of numbers or dates only: there "-" is no level.
_GAPS = {
    "", "?", "-", "--", "---", "–", "—", ".", "..", "...", "n/a", "n.a.", "na", "nan", "none", "null", "nil", "missing",
    "unknown", "k.a.", "k. a.", "#n/a", "#na", "<na>", "nat", "#value!", "#div/0!", "#ref!", "#num!",
}  # fmt: skip
_MONEY = "$€£¥₹₽₩฿₺₫₴₪¢"
_CURRENCIES = "USD|EUR|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|HUF|RUB|TRY|BRL|MXN|CAD|AUD|NZD|ZAR|KRW|Fr\\.|kr|zł|R\\$"
_UNIT = f"(?:[{_MONEY}]|{_CURRENCIES})"
# Groups of digits are also set apart by spaces (also the narrow and unbreakable ones) and apostrophes.
_SPACES = " \u00a0\u2009\u202f'\u2019"
_NUMBER = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+\u2212])?\s*{_UNIT}?\s*(?P<sign2>[-+\u2212])?\s*"
    rf"(?P<body>\d[\d.,]*|[.,]\d+|\d{{1,3}}(?:[{_SPACES}]\d{{3}})+(?:[.,]\d+)?)(?P<exponent>[eE][-+]?\d+)?"
    rf"\s*{_UNIT}?\s*(?P<percent>%)?\s*(?P<close>\))?"
)
_CODE = re.compile(r"[-+]?0\d+")
_CLOCK = r"(?:[T ]\s*(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:\s?[AaPp][Mm])?)(?P<zone>Z|[+-]\d{2}:?\d{2})?)?"
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_DATES = {
    "ymd": re.compile(rf"(?P<y>\d{{4}})([-/.])(?P<m>\d{{1,2}})\2(?P<d>\d{{1,2}}){_CLOCK}"),
    "xxy": re.compile(rf"(?P<a>\d{{1,2}})([-/.])(?P<b>\d{{1,2}})\2(?P<y>\d{{4}}){_CLOCK}"),
    "xxyy": re.compile(rf"(?P<a>\d{{2}})([-/.])(?P<b>\d{{2}})\2(?P<y>\d{{2}}){_CLOCK}"),
    "dMy": re.compile(rf"(?P<d>\d{{1,2}})\.?[- ](?P<M>{_MONTHS})[a-z]*\.?[-, ]\s*(?P<y>\d{{4}}|\d{{2}}){_CLOCK}", re.I),
    "Mdy": re.compile(rf"(?P<M>{_MONTHS})[a-z]*\.? (?P<d>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<y>\d{{4}}){_CLOCK}", re.I),
}
_IS_TEXT_DTYPE = ("str", "string", "object")


@dataclass(frozen=True)
class Numbers:
    """Numbers in text."""

    decimal: str = "."
    percent: bool = False

    def read(self, cells: pd.Series) -> tuple[pd.Series, pd.Series]:
        """Numbers, NaN where there are none, and which cells are neither numbers nor gaps."""
        import numpy as np

        values = cells.map(_each(self._one), na_action="ignore").astype(float)
        return values, values.isna() & ~is_gap(cells) & ~np.isinf(values)

    def __str__(self) -> str:
        percent = ", in percent" if self.percent else ""
        return f"numbers with decimal {'comma' if self.decimal == ',' else 'point'}{percent}"

    def _one(self, cell: str) -> float:
        found = _NUMBER.fullmatch(cell.strip())
        if not found or bool(found["open"]) != bool(found["close"]) or bool(found["percent"]) != self.percent:
            return float("nan")
        body = re.sub(rf"[{_SPACES}]", "", found["body"])
        groups = "." if self.decimal == "," else ","
        if groups in body:
            if not re.fullmatch(
                rf"\d{{1,3}}(\{groups}\d{{3}})+(\{self.decimal}\d*)?|\d{{1,2}}(,\d{{2}})*,\d{{3}}(\.\d*)?", body
            ):
                return float("nan")
            body = body.replace(groups, "")
        try:
            value = float(body.replace(self.decimal, ".") + (found["exponent"] or ""))
        except ValueError:
            return float("nan")
        negative = found["open"] or "-" in (sign := (found["sign"] or "") + (found["sign2"] or "")) or "\u2212" in sign
        return -value if negative else value


@dataclass(frozen=True)
class Dates:
    """Dates in text."""

    order: str
    shape: str

    def read(self, cells: pd.Series) -> tuple[pd.Series, pd.Series]:
        """Dates, NaT where there are none, and which cells are neither dates nor gaps."""
        import pandas as pd

        iso = cells.map(_each(self._one), na_action="ignore").astype(object)
        values = pd.to_datetime(iso, errors="coerce", utc=True, format="ISO8601")
        if not cells.astype(str).str.contains(r":.*(?:Z|[+-]\d{2}:?\d{2})\s*$", regex=True).any():
            values = values.dt.tz_localize(None)
        return values, values.isna() & ~is_gap(cells)

    def __str__(self) -> str:
        words = {"dmy": "day, month, year", "mdy": "month, day, year", "ymd": "year, month, day"}
        return f"dates, {words[self.order]}"

    def _one(self, cell: str) -> str | None:
        found = _DATES[self.shape].fullmatch(cell.strip())
        if not found:
            return None
        part = found.groupdict()
        if part.get("M"):
            day, month = int(part["d"]), _MONTHS.lower().split("|").index(part["M"].lower()) + 1
        elif self.shape == "ymd":
            day, month = int(part["d"]), int(part["m"])
        else:
            first, second = int(part["a"]), int(part["b"])
            day, month = (first, second) if self.order == "dmy" else (second, first)
        year = int(part["y"])
        if len(part["y"]) == 2:
            year += 2000 if year < 70 else 1900
        if not (1 <= month <= 12 and 1 <= day <= 31):
            return None
        return f"{year:04d}-{month:02d}-{day:02d}{_clock(part['time'])}{part['zone'] or ''}"


Format = Numbers | Dates


class AmbiguousDatesError(ValueError):
    """Dates that are dates in two orders."""


def is_text(column: pd.Series) -> bool:
    import pandas as pd

    return str(column.dtype) in _IS_TEXT_DTYPE or (
        isinstance(column.dtype, pd.ArrowDtype) and "string" in str(column.dtype)
    )


def is_gap(cells: pd.Series) -> pd.Series:
    """Cells that are missing or say so, in a column of numbers or dates."""
    return cells.isna() | cells.map(lambda cell: isinstance(cell, str) and cell.strip().casefold() in _GAPS).astype(
        bool
    )


def format_of(column: pd.Series, decimal: str = ".", order: str = "auto") -> Format | None:
    """How a text column writes numbers or dates in all its cells but gaps; None for levels, codes and free text.

    Args:
        decimal: mark of the file, for cells such as 1,234 that may be one thousand or one and a bit.
        order: of dates; auto raises AmbiguousDatesError if two orders fit.
    """
    import pandas as pd

    if not is_text(column):
        return None
    found = column[~is_gap(column)].unique()
    if not len(found) or not all(isinstance(cell, str) for cell in found):
        return None
    cells = pd.Series([cell.strip() for cell in found], dtype=object, name=column.name)
    if cells.map(_CODE.fullmatch).any():
        return None
    return _numbers_of(cells, decimal) or _dates_of(cells, order)


def shows_decimal(cells: pd.Series) -> str:
    """The mark before decimals that text cells show beyond doubt: "." or ",", "" if none or both."""
    known = cells[~is_gap(cells)].str.strip()
    shown = {_shown(found) for cell in known.drop_duplicates() if (found := _NUMBER.fullmatch(cell))}
    every = len(known) and known.map(lambda cell: bool(_NUMBER.fullmatch(cell))).all()
    marks = {mark for mark in shown if mark in (".", ",")}
    return marks.pop() if every and len(marks) == 1 else ""


def _numbers_of(cells: pd.Series, decimal: str) -> Numbers | None:
    if not all(_NUMBER.fullmatch(cell) for cell in cells):  # ends at the first that is none
        return None
    found = [match for cell in cells if (match := _NUMBER.fullmatch(cell))]
    percent = {bool(match["percent"]) for match in found}
    marks = {_shown(match) for match in found}
    if len(percent) > 1 or {".", ","} <= marks:
        return None
    sure = marks & {".", ","}
    numbers = Numbers(sure.pop() if sure else decimal, percent.pop())
    return None if numbers.read(cells)[1].any() else numbers


def _shown(found: re.Match) -> str:
    """The decimal mark of one number: ".", ",", "?" for one mark before three digits, "" for none."""
    body = found["body"]
    marks = re.findall(r"[.,]", body)
    if not marks:
        return ""
    if len(set(marks)) == 2:
        return marks[-1]
    if len(marks) > 1:
        return "," if marks[0] == "." else "."  # what repeats sets groups apart
    before, _, after = body.partition(marks[0])
    return "?" if len(after) == 3 and 1 <= len(before) <= 3 and before != "0" and not found["exponent"] else marks[0]


def _dates_of(cells: pd.Series, order: str) -> Dates | None:
    for shape, pattern in _DATES.items():
        if not all(pattern.fullmatch(cell) for cell in cells):
            continue
        if not shape.startswith("xx"):
            dates = Dates("ymd" if shape == "ymd" else {"dMy": "dmy", "Mdy": "mdy"}[shape], shape)
            return None if dates.read(cells)[1].any() else dates
        asked = [order] if order in ("dmy", "mdy") else ["dmy", "mdy"]
        fitting = [dates for name in asked if not (dates := Dates(name, shape)).read(cells)[1].any()]
        if len(fitting) == 2 and all(re.match(r"\d+\.\d+\.", cell) for cell in cells):
            return fitting[0]  # with points, the day is first everywhere
        if len(fitting) == 2 and not fitting[0].read(cells)[0].equals(fitting[1].read(cells)[0]):
            raise AmbiguousDatesError(
                f"column {cells.name!r} holds {cells.iloc[0]!r}, which may be day/month or month/day; say which with "
                f"--dates dmy or --dates mdy (dates= in Python)."
            )
        return fitting[0] if fitting else None
    return None


def _clock(time: str | None) -> str:
    if not time:
        return ""
    hour, rest = time.split(":", 1)
    half = rest[-2:].lower() if rest[-1:] in "mM" else ""
    if half:
        rest = rest[:-2].strip()
        hour = str(int(hour) % 12 + (12 if half == "pm" else 0))
    return f"T{int(hour):02d}:{rest}"


def _each(read: Any) -> Any:
    """`read` of a text; numbers stay, whatever else is missing."""
    return lambda cell: read(cell) if isinstance(cell, str) else cell if isinstance(cell, int | float) else None

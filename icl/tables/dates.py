"""Dates as people write them: 17.02.2023, 2/17/2023 1:05 PM, 17 février 2023, 2023-02-17T10:00+01:00, 20230217."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icl.tables.cells import Coded, is_text, pattern, says_missing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

_CLOCK = (
    r"(?:,? ?[T ] ?(?P<h>\d{1,2}):(?P<min>\d{2})(?::(?P<s>\d{2}(?:[.,]\d{1,9})?))?(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
    r"(?: ?Uhr)?(?: ?(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2}))?)?$"
)
_D, _M, _Y = r"(?P<d>\d{1,2})", r"(?P<m>\d{1,2})", r"(?P<y>\d{4})"
_WEEKDAY = r"^(?:\pL{2,10}\.?,? )?"
_OF = "(?:de |of )?"
_WORD = r"(?P<word>\pL{3,10})\.?"
# Shape -> pattern. "a" and "b" are day and month, in an order that the column shows or a person says.
_SHAPES = {
    **{f"ymd{mark}": rf"^{_Y}{mark}{_M}{mark}{_D}" for mark in ("-", "/", r"\.")},
    **{f"xxy{mark}": rf"{_WEEKDAY}(?P<a>\d{{1,2}}){mark} ?(?P<b>\d{{1,2}}){mark} ?{_Y}" for mark in ("-", "/", r"\.")},
    **{f"xxyy{mark}": rf"^(?P<a>\d{{1,2}}){mark}(?P<b>\d{{1,2}}){mark}(?P<y>\d{{2}})" for mark in ("-", "/", r"\.")},
    "dMy": rf"{_WEEKDAY}{_D}(?:\.|er|st|nd|rd|th|º)?[- /]?{_OF}{_WORD}[-, /]? ?{_OF}(?P<y>\d{{4}}|\d{{2}})",
    "Mdy": rf"{_WEEKDAY}{_WORD} {_D}(?:st|nd|rd|th)?,? {_Y}",
    "compact": r"^(?P<y>(?:19|20)\d{2})(?P<m>\d{2})(?P<d>\d{2})",
    "month": rf"^{_Y}[-/](?P<m>\d{{2}})",
    # Of a column whose cells differ in their marks, each with one mark: read with that of `_ONE_MARK` in its place.
    "ymd*": rf"^{_Y}-{_M}-{_D}",
    "xxy*": rf"{_WEEKDAY}(?P<a>\d{{1,2}})- ?(?P<b>\d{{1,2}})- ?(?P<y>\d{{4}}|\d{{2}})",
}
_MIXED = ("ymd*", "xxy*")
_ONE_MARK = [(rf"^(\D{{0,12}}\d{{1,4}}){mark}( ?\d{{1,2}}){mark}", r"\1-\2-") for mark in ("/", r"\.")]
_NAMES = (
    "jan january januar jänner janvier janv enero ene gennaio gen januari janeiro",
    "feb february februar fév févr février fevrier febrero febbraio februari fevereiro fev",
    "mar march märz maerz mär mrz mars marzo maart mrt março",
    "apr april avr avril abril abr aprile",
    "may mai mayo maggio mag mei maio",
    "jun june juni juin junio giugno giu junho",
    "jul july juli juil juillet julio luglio lug julho",
    "aug august août aout agosto ago augustus",
    "sep sept september septembre septiembre settembre set setembro",
    "oct october okt oktober octobre octubre ottobre ott outubro out",
    "nov november novembre noviembre novembro",
    "dec december dez dezember déc décembre decembre diciembre dic dicembre dezembro",
)
_MONTHS = {name: month for month, names in enumerate(_NAMES, 1) for name in names.split()}
_ORDERS = {"dmy": "day, month, year", "mdy": "month, day, year", "ymd": "year, month, day"}
_FEW_WORDS, _FEWEST_DATES = 0.05, 10
# Days since the end of 1899, as a spreadsheet counts them: 1954 to 2064.
_SERIALS = (20_000, 60_000)
_SPREADSHEET = "1899-12-30"
SERIAL = "serial"


class AmbiguousDatesError(ValueError):
    """Dates that are dates in two orders."""


@dataclass(frozen=True)
class Dates:
    """How the dates of a column are written."""

    order: str
    shape: str

    def read(self, column: pd.Series, coded: Coded | None = None) -> tuple[pd.Series, pd.Series]:
        """Dates, NaT where there are none, and which cells are neither dates nor gaps."""
        import numpy as np
        import pandas as pd

        if not is_text(column):
            is_serial = self.shape == SERIAL and column.dtype.kind in "iuf"
            return (_of_serials(column) if is_serial else column), pd.Series(False, column.index)
        coded = coded or Coded.of(column)
        ticks, are_wrong, has_zone = self._read(coded.texts)
        values, wrong = coded.spread(ticks, np.datetime64("NaT")), coded.spread(are_wrong, False)
        if column.dtype == object:
            others = ~column.map(lambda cell: isinstance(cell, str)).to_numpy(bool) & column.notna().to_numpy()
            is_date = others & column.map(lambda cell: hasattr(cell, "isoformat")).to_numpy(bool)
            values[is_date] = pd.to_datetime(column[is_date], utc=True).dt.tz_localize(None).to_numpy("datetime64[us]")
            wrong = wrong | (others & ~is_date)
        dates = pd.Series(values, column.index, name=column.name)
        return (dates.dt.tz_localize("UTC") if has_zone else dates), pd.Series(wrong, column.index)

    def __str__(self) -> str:
        if self.shape == SERIAL:
            return "dates, in days of a spreadsheet"
        mixed = ", written in several ways" if self.shape in _MIXED else ""
        return "dates, year and month" if self.shape == "month" else f"dates, {_ORDERS[self.order]}{mixed}"

    def _read(self, cells: pa.Array) -> tuple[np.ndarray, np.ndarray, bool]:
        """Dates of the texts, in UTC where they have a zone; which are wrong; whether some have a zone."""
        import numpy as np
        import pandas as pd
        import pyarrow.compute as pc

        gaps = says_missing(cells).to_numpy(zero_copy_only=False)
        if self.shape == SERIAL:
            fits = pc.match_substring_regex(cells, r"^\d{5}(\.\d+)?$").to_pylist()
            days = pd.Series(
                [float(cell) if fit else np.nan for cell, fit in zip(cells.to_pylist(), fits)], dtype=float
            )
            return _of_serials(days).to_numpy("datetime64[us]"), days.isna().to_numpy() & ~gaps, False
        if self.shape in _MIXED:
            for before, after in _ONE_MARK:
                cells = pc.replace_substring_regex(cells, before, after)
        shape = _SHAPES[self.shape]
        if not pc.any(pc.match_substring_regex(cells, r"^\pL")).as_py():
            shape = shape.replace(_WEEKDAY, "^")  # a weekday takes Arrow 8 ms to compile
        found = pc.extract_regex(cells, shape + _CLOCK)
        part = {field.name: pc.if_else(found.is_valid(), found.field(field.name), "") for field in found.type}
        if "a" in part:
            part["d"], part["m"] = (part["a"], part["b"]) if self.order == "dmy" else (part["b"], part["a"])
        midnight, is_day = _days(part)
        clock, is_time = _clock(part)
        is_far = is_day & ((midnight < np.datetime64("1678")) | (midnight >= np.datetime64("2262")))
        tick = "us" if is_far.any() else np.datetime_data(clock.dtype)[0]
        ticks: np.ndarray = midnight.astype(f"datetime64[{tick}]") + clock.astype(f"timedelta64[{tick}]")
        ticks[~(is_day & is_time)] = np.datetime64("NaT")
        return ticks, np.isnat(ticks) & ~gaps, bool(pc.any(pc.not_equal(part["zone"], "")).as_py())


PLAIN_DATES = Dates("ymd", "ymd-")


def few_are_dates(head: Iterable[str], shape: str = "") -> bool:
    """Whether most of some texts are no dates, of a shape or of any."""
    texts = list(head)
    if shape in _MIXED:
        for before, after in _ONE_MARK:
            texts = [pattern(before).sub(after, text) for text in texts]
    shapes = [_SHAPES[shape]] if shape else _SHAPES.values()
    return all(2 * sum(bool(pattern(s + _CLOCK).match(text)) for text in texts) < len(texts) for s in shapes)


def look_for_dates(counts: dict[str, int], name: Any, order: str = "auto") -> tuple[Dates | None, tuple[str, ...]]:
    """How the texts of a column, with how often each comes, write dates, and those that are none; None if they do not.

    Raises:
        AmbiguousDatesError: if two orders fit, and mean different days.
    """
    import pandas as pd

    head = list(counts)[:50]
    best: tuple[Dates | None, tuple[str, ...]] = None, ()
    for shape in _SHAPES:
        if few_are_dates(head, shape):
            continue
        series = pd.Series(list(counts), dtype="str", name=name)
        if not shape.startswith("xx"):
            dates = Dates("ymd" if shape[0] in "ymc" else {"dMy": "dmy", "Mdy": "mdy"}[shape], shape)
            odd = _odd(dates, series, counts)
            fitting = {} if odd is None or (shape == "compact" and len(counts) < 3) else {dates: odd}
        else:
            asked = [order] if order in ("dmy", "mdy") else ["dmy", "mdy"]
            fitting = {d: odd for o in asked if (odd := _odd(d := Dates(o, shape), series, counts)) is not None}
        # An order that leaves fewer words over is the one: 13/02 is no month.
        fewest = min(map(len, fitting.values()), default=0)
        kept = [d for d, odd in fitting.items() if len(odd) == fewest]
        are_at_odds = (
            order == "auto" and [d.order for d in kept] == ["mdy"] and _points_may_be_days_first(shape, counts)
        )
        if are_at_odds or (
            len(kept) == 2 and not _day_is_first(shape, counts) and not _alike(kept[0], kept[1], series)
        ):
            first = series.iloc[0] if not are_at_odds else next(text for text in counts if "." in text)
            raise AmbiguousDatesError(
                f"column {name!r} holds {first!r}, which may be day/month or month/day; say which with "
                f"--dates dmy or --dates mdy (dates= in Python)."
            )
        if kept and (best[0] is None or fewest < len(best[1])):
            best = kept[0], fitting[kept[0]]
        if best[0] is not None and not best[1]:
            break
    return best


def _day_is_first(shape: str, texts: Iterable[str]) -> bool:
    """With points the day is first everywhere."""
    return r"\." in shape or (shape in _MIXED and any(pattern(r"\D{0,12}\d{1,2}\.").match(text) for text in texts))


def _points_may_be_days_first(shape: str, texts: Iterable[str]) -> bool:
    """Where marks differ: whether all dates with points fit an order that other marks rule out."""
    import pandas as pd

    points = [text for text in texts if shape in _MIXED and pattern(r"\D{0,12}\d{1,2}\.").match(text)]
    return bool(points) and not Dates("dmy", shape).read(pd.Series(points, dtype="str"))[1].any()


def _alike(one: Dates, other: Dates, series: pd.Series) -> bool:
    return one.read(series)[0].equals(other.read(series)[0])


def are_serials(name: Any, values: pd.Series) -> bool:
    """Whether numbers are days of a spreadsheet: the name of their column says so, and their size."""
    import re

    is_named = re.search(r"(^|[^a-z])(date|datum|day|tag|fecha|data|dt)([^a-z]|$)", str(name).lower())
    return bool(is_named) and len(values) > 0 and _SERIALS[0] < values.min() and values.max() < _SERIALS[1]


def _odd(dates: Dates, series: pd.Series, counts: dict[str, int]) -> tuple[str, ...] | None:
    """The few texts that are no dates; None if they are more than a few."""
    odd = tuple(series[dates.read(series)[1]])
    if odd and (
        sum(counts[text] for text in odd) > _FEW_WORDS * sum(counts.values()) or len(counts) - len(odd) < _FEWEST_DATES
    ):
        return None
    return odd


def _of_serials(numbers: pd.Series) -> pd.Series:
    import pandas as pd

    return pd.to_datetime(numbers, unit="D", origin=_SPREADSHEET).dt.round("s").astype("datetime64[us]")


def _days(part: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Days of years, months (numbers or words) and days as text, "" where there is none; and which exist."""
    import numpy as np
    import pyarrow.compute as pc

    year, day = _whole(part["y"]), _whole(part["d"]) if "d" in part else np.int64(1)
    is_short = pc.equal(pc.utf8_length(part["y"]), 2).to_numpy(zero_copy_only=False)
    year = year + is_short * np.where(year < 70, 2000, 1900)
    if "word" in part:
        words = pc.dictionary_encode(pc.utf8_lower(part["word"]))
        numbers = np.array([_MONTHS.get(word, 0) for word in words.dictionary.to_pylist()], dtype=np.int64)
        month = numbers[words.indices.to_numpy(zero_copy_only=False)]
    else:
        month = _whole(part["m"])
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    return days, (year > 0) & (month >= 1) & (month <= 12) & (day >= 1) & (days.astype("datetime64[M]") == months)


def _clock(part: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Time since midnight of hours, minutes, seconds and zones as text, in UTC where there is one; which exist."""
    import numpy as np
    import pyarrow.compute as pc

    hour, minute = _whole(part["h"]), _whole(part["min"])
    half = pc.utf8_lower(part["half"])
    is_half, is_late = (f(half).to_numpy(zero_copy_only=False) for f in (pc.binary_length, lambda h: pc.equal(h, "p")))
    hour = np.where(is_half > 0, hour % 12 + 12 * is_late, hour)
    second = _whole(pc.utf8_slice_codeunits(part["s"], 0, 2))
    nano = _whole(pc.utf8_rpad(pc.utf8_slice_codeunits(part["s"], 3, 12), 9, "0"))
    zone = pc.replace_substring(pc.replace_substring_regex(part["zone"], "Z|UTC|GMT", ""), ":", "")
    ahead, more = _whole(pc.utf8_slice_codeunits(zone, 1, 3)), _whole(pc.utf8_slice_codeunits(zone, 3, 5))
    offset = (60 * ahead + more) * np.where(pc.starts_with(zone, "-").to_numpy(zero_copy_only=False), -1, 1)
    since = (60 * hour + minute - offset) * 60 + second
    exists = (hour < 24) & (minute < 60) & (second < 60) & (ahead < 24) & (more < 60)
    if (nano % 1_000).any():  # then only: nanoseconds hold no date before 1678 or after 2262
        return (since * 1_000_000_000 + nano).astype("timedelta64[ns]"), exists
    return (since * 1_000_000 + nano // 1_000).astype("timedelta64[us]"), exists


def _whole(texts: pa.Array) -> np.ndarray:
    """Digits as numbers; no digits are 0."""
    import pyarrow.compute as pc

    return pc.if_else(pc.equal(texts, ""), "0", texts).cast("int64").to_numpy(zero_copy_only=False)

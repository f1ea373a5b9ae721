"""Numbers as people write them: 38.361,86 €, $1,234.50, (123), 12 %, 1'000, 5 kg."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from icl.tables.cells import Coded, Shapes, as_arrow, is_text, pattern, says_missing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

_SYMBOLS = {
    "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "Fr.": "CHF", "SFr.": "CHF", "zł": "PLN", "R$": "BRL",
    "US$": "USD", "A$": "AUD", "C$": "CAD", "Euro": "EUR", "euro": "EUR", "Eur": "EUR",
}  # fmt: skip
_OTHERS = ("₽", "₩", "฿", "₺", "₫", "₴", "₪", "¢", "kr", "kr.", "Kč", "Ft")
_CODES = re.findall(r"\w+", "USD EUR GBP CHF JPY CNY INR SEK NOK DKK PLN CZK HUF RUB TRY BRL MXN CAD AUD NZD ZAR KRW")
_CURRENCIES = (*_SYMBOLS, *_OTHERS, *_CODES)
_NAMES = sorted(_CURRENCIES, key=len, reverse=True)
_MONEY = "|".join(name.replace("$", r"\$").replace(".", r"\.") for name in _NAMES)
# Narrow and unbreakable spaces are spaces, primes are apostrophes; both set groups of digits apart.
_ALIKE = str.maketrans("\u00a0\u2007\u2009\u202f\u2019\u00b4`\u2212\u2013", "    '''--")
_UNIT = r"[\pL°µ²³/]"
_ANY_UNIT = rf"|{_UNIT}{{1,8}}"
_NUMBER = (
    rf"^(?P<open>\()? ?(?P<sign>[-+])? ?(?P<before>{_MONEY})? ?(?P<sign2>[-+])? ?"
    r"(?P<body>\d{1,3}(?:[ ']\d{3})+(?:[.,]\d+)?|\d[\d.,]*|[.,]\d+)(?P<exponent>[eE][-+]?\d+)?(?P<sign3>-)?"
    rf" ?(?P<after>{_MONEY}{_ANY_UNIT})? ?(?P<percent>%)?(?P<close>\))?$"
)
_PLAIN = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
_CODE = r"^[-+]?0\d+$"
# A single mark is the decimal one unless three digits follow one to three that are no zero: 1,234.
_SURE = {
    ",": r"\.[\d.]*,\d*$|^\d+(\.\d+){2,}$|^\d*,(\d{0,2}|\d{4,})$|^(0|\d{4,})?,\d{3}$",
    ".": r",[\d,]*\.\d*$|^\d+(,\d+){2,}$|^\d*\.(\d{0,2}|\d{4,})$|^(0|\d{4,})?\.\d{3}$",
}
# Of cells, words among numbers that may be mistakes, and different numbers that there must be then.
_FEW_WORDS, _FEWEST_NUMBERS = 0.05, 10


@dataclass(frozen=True)
class Numbers:
    """How the numbers of a column are written."""

    decimal: str = "."
    percent: bool = False
    unit: str = ""
    """Written before or behind every number; a currency by its code."""

    def read(self, column: pd.Series, coded: Coded | None = None) -> tuple[pd.Series, pd.Series]:
        """Numbers, NaN where there are none, and which cells are neither numbers nor gaps."""
        import numpy as np
        import pandas as pd

        if not is_text(column):
            return column, pd.Series(False, column.index)
        coded = coded or Coded.of(column)
        of_texts, are_wrong = self._read(coded.shapes)
        values, wrong = coded.spread(of_texts, np.nan), coded.spread(are_wrong, False)
        if column.dtype == object:
            others = ~column.map(lambda cell: isinstance(cell, str)).to_numpy(bool) & column.notna().to_numpy()
            is_number = others & column.map(lambda c: isinstance(c, int | float) and not isinstance(c, bool)).to_numpy(
                bool
            )
            values[is_number] = column[is_number].to_numpy(dtype=float)
            wrong = wrong | (others & ~is_number)
        is_whole = len(values) > 0 and not np.isnan(values).any() and not (values % 1).any()
        if is_whole and np.abs(values).max() < 2**53:
            values = values.astype(np.int64)
        return pd.Series(values, column.index, name=column.name), pd.Series(wrong, column.index)

    def __str__(self) -> str:
        mark = f" with decimal {'comma' if self.decimal == ',' else 'point'}"
        return f"numbers{mark}{', in percent' if self.percent else ''}{f', in {self.unit}' if self.unit else ''}"

    def _read(self, shapes: Shapes) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the texts, and which are neither numbers nor gaps; how they are written, shape by shape."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = shapes.shapes
        part = _parts(cells)
        groups = "." if self.decimal == "," else ","
        body = pc.replace_substring_regex(part["body"], "[ ']", "")
        is_grouped = pc.match_substring(body, groups)
        mark = "," if self.decimal == "," else r"\."
        other = r"\." if self.decimal == "," else ","
        well = pc.match_substring_regex(
            body, rf"^\d{{1,3}}({other}\d{{3}})+({mark}\d*)?$|^\d{{1,2}}(,\d{{2}})*,\d{{3}}(\.\d*)?$"
        )
        plain = pc.replace_substring(pc.replace_substring(body, groups, ""), self.decimal, ".")
        written = pc.binary_join_element_wise(plain, part["exponent"], pa.scalar("", plain.type))
        right = pc.and_(pc.or_(pc.invert(is_grouped), well), pc.match_substring_regex(written, _PLAIN))
        right = pc.and_(right, pc.equal(_is_filled(part["percent"]), self.percent))
        right = pc.and_(right, pc.equal(_is_filled(part["open"]), _is_filled(part["close"])))
        written = shapes.with_digits(pc.if_else(right, written, pa.scalar(None, written.type)))
        values = written.cast("float64").to_numpy(zero_copy_only=False)
        cents = pc.match_substring_regex(part["body"], r"[.,]$")  # 12,- is twelve
        minus = pc.or_(pc.equal(part["sign"], "-"), pc.equal(part["sign2"], "-"))
        minus = pc.or_(minus, pc.and_(pc.equal(part["sign3"], "-"), pc.invert(cents)))
        minus = pc.or_(minus, _is_filled(part["open"])).to_numpy(zero_copy_only=False)
        wrong = ~right.to_numpy(zero_copy_only=False) & ~says_missing(cells).to_numpy(zero_copy_only=False)
        return np.where(minus[shapes.codes], -values, values), wrong[shapes.codes]


@dataclass(frozen=True)
class Look:
    """What the different texts of a column say about its numbers, before a decimal mark is chosen."""

    marks: frozenset[str] = frozenset()
    """Decimal marks that some cell shows beyond doubt."""
    unsure: frozenset[str] = frozenset()
    """Marks before three digits, as in 1,234: one thousand, or one and a bit."""
    percent: bool = False
    unit: str = ""
    odd: tuple[str, ...] = ()
    """Words that are no numbers."""
    why_not: str = ""

    def with_mark(self, decimal: str) -> Numbers:
        return Numbers(min(self.marks, default=decimal), self.percent, self.unit)


def plain_numbers(column: pd.Series) -> np.ndarray | pd.api.extensions.ExtensionArray | None:
    """(n,) values of a column of text whose cells are 12, -1.5 or 2e5, or gaps; None if they are not.

    This is the fast way, for what most files hold. Whole numbers beyond 2**53 beside gaps are Int64: a float would lose
    their last digits.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = as_arrow(column)
    known = pc.if_else(pc.equal(cells, ""), pa.scalar(None, cells.type), cells)
    values = _cast(known)
    if values is None:
        head = pc.utf8_trim_whitespace(cells.slice(0, 200))
        if pc.all(pc.or_(pc.match_substring_regex(head, _PLAIN), says_missing(head))).as_py() is False:
            return None
        cells = pc.utf8_trim_whitespace(cells)
        fits = pc.match_substring_regex(cells, _PLAIN).fill_null(False)
        rest = pc.unique(cells.filter(pc.invert(fits)))
        if not pc.all(says_missing(rest)).as_py():
            return None
        known = pc.if_else(fits, cells, pa.scalar(None, cells.type))
        values = _cast(known)
    if values is None or values.null_count == len(values):
        return None
    numbers = np.array(values.to_numpy(zero_copy_only=False))
    if values.type == pa.float64() and not np.isfinite(numbers[values.is_valid().to_numpy(zero_copy_only=False)]).all():
        return None  # words: nan, inf
    has_whole = values.type == pa.int64() or bool((numbers % 1 == 0).any())
    if has_whole and pc.any(pc.match_substring_regex(known, r"^[-+]?0\d|\d{16}")).as_py():
        texts = known.filter(pc.match_substring_regex(known, r"^[-+]?0\d+$|^[-+]?\d{19,}$").fill_null(False))
        if len(texts):
            return None  # codes, or more digits than float64 has
    if values.type == pa.int64() and values.null_count and np.nanmax(np.abs(numbers)) > 2**53:
        return pd.array(values.to_pylist(), dtype="Int64")
    return numbers


def _cast(cells: pa.Array) -> pa.Array | None:
    """Whole numbers, else numbers, else None."""
    import pyarrow as pa

    for kind in ("int64", "float64"):
        try:
            cells.slice(0, 200).cast(kind)  # a failure is slow: it is found among few
            return cells.cast(kind)
        except pa.ArrowInvalid:
            pass
    return None


def shows_point(cells: pa.Array) -> bool:
    """Whether some plain number shows that the point is its decimal mark: 1.5, and not 1.234."""
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(cells, _SURE["."].replace("^", "^[-+]?"))).as_py())


def may_be_thousands(cells: pa.Array) -> bool:
    """Whether plain numbers may be whole ones in groups: three digits behind every point, none above 999 without."""
    import pyarrow.compute as pc

    known = cells.drop_null()
    known = known.filter(pc.not_equal(known, ""))
    grouped = pc.match_substring_regex(known, r"^[-+]?[1-9]\d{0,2}\.\d{3}$")
    small = pc.match_substring_regex(known, r"^[-+]?\d{1,3}$")
    return bool(pc.any(grouped).as_py() and pc.all(pc.or_(grouped, small)).as_py())


def few_are_numbers(head: dict[str, int]) -> str:
    """A reason, if most of some texts are no numbers."""
    others = [text for text in head if not pattern(_NUMBER).match(text.translate(_ALIKE))]
    return f"such as {others[0][:40]!r}" if 2 * len(others) > len(head) else ""


def look_for_numbers(coded: Coded) -> Look:
    """What the texts of a column that are no gaps say about its numbers."""
    import pyarrow.compute as pc

    cells, shape_of = coded.shapes.shapes, coded.shapes.codes
    part = _parts(cells)
    known = cells.filter(part["fits"])
    is_odd = pc.invert(pc.or_(part["fits"], says_missing(cells))).to_numpy(zero_copy_only=False)[shape_of]
    odd: tuple[str, ...] = ()
    if is_odd.any():
        is_number = part["fits"].to_numpy(zero_copy_only=False)[shape_of]
        odd = tuple(coded.texts.filter(is_odd).to_pylist())
        n_odd, n_numbers = (int(coded.times()[which].sum()) for which in (is_odd, is_number))
        if not are_few(n_odd, n_odd + n_numbers, int(is_number.sum())):
            return Look(odd=odd, why_not=f"{odd[0]!r} is no number")
    if not len(known):
        return Look(why_not="no cell is filled")
    if len(known) < len(cells):
        part = _parts(known)
    if pc.any(pc.match_substring_regex(known, _CODE)).as_py():
        return Look(why_not="leading zeros")
    if pc.any(pc.match_substring_regex(known, r"^[-+]?\d{19,}$")).as_py():
        return Look(why_not="more digits than a number keeps")
    percent = set(_is_filled(part["percent"]).to_pylist())
    if len(percent) > 1:
        return Look(why_not="some are percent, some are not")
    unit, why_not = _unit_of(part)
    if why_not:
        return Look(why_not=why_not)
    spaced = pc.match_substring_regex(part["body"], "[ ']")
    body = pc.replace_substring_regex(part["body"], "[ ']", "")
    decided = pc.or_(spaced, _is_filled(part["exponent"]))
    marks = frozenset(
        mark
        for mark, sure in _SURE.items()
        if pc.any(pc.match_substring_regex(body, sure)).as_py()
        or pc.any(pc.and_(decided, pc.match_substring_regex(body, rf"^\d*[{mark}]\d+$"))).as_py()
    )
    if len(marks) > 1:
        return Look(why_not="decimal commas and points")
    unsure = frozenset(m for m in ",." if pc.any(pc.match_substring_regex(body, rf"^\d{{1,3}}[{m}]\d{{3}}$")).as_py())
    return Look(marks, unsure, percent.pop(), unit, odd)


def look_beside_numbers(column: pd.Series, coded: Coded) -> Look | None:
    """What words beside typed numbers, as Excel has them, say: gaps or few mistakes; None if they may be levels."""
    typed = [cell for cell in column.dropna() if not isinstance(cell, str)]
    if not typed or not all(isinstance(cell, Real) and not isinstance(cell, bool) for cell in typed):
        return None
    odd = coded.counts()
    if any(pattern(_NUMBER).match(text.translate(_ALIKE)) for text in odd):  # 04109 among them: codes
        return None
    n_odd = sum(odd.values())
    return Look(odd=tuple(odd)) if are_few(n_odd, n_odd + len(typed), len(set(typed))) else None


def are_few(n_words: int, n: int, n_different: int) -> bool:
    """Whether words among n cells may be mistakes, beside so many different numbers or dates."""
    return n_words == 0 or (n_words <= _FEW_WORDS * n and n_different >= _FEWEST_NUMBERS)


def _unit_of(part: dict[str, Any]) -> tuple[str, str]:
    """The unit that all numbers have in common, and why there is none."""
    both = [
        {_SYMBOLS.get(word, word) for word in pair if word}
        for pair in zip(part["before"].to_pylist(), part["after"].to_pylist())
    ]
    units = Counter(word for words in both for word in words)
    if len(units) > 1:
        shown = " and ".join(sorted(units)[:3])
        return "", f"several units or currencies, {shown}"
    for unit, n in units.items():
        if n < len(both) and unit not in _CURRENCIES:
            return "", f"some have a {unit!r} behind them, some do not"
        return unit, ""
    return "", ""


def _parts(cells: pa.Array) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = pa.array([cell.translate(_ALIKE) for cell in cells.to_pylist()], cells.type)
    has_letters = pc.any(pc.match_substring_regex(cells, _UNIT)).as_py()
    parts = pc.extract_regex(cells, _NUMBER if has_letters else _NUMBER.replace(_ANY_UNIT, ""))  # 7 ms to compile
    names = ("open", "sign", "before", "sign2", "body", "exponent", "sign3", "after", "percent", "close")
    return {name: parts.field(name) for name in names} | {"fits": parts.is_valid()}


def _is_filled(texts: Any) -> Any:
    import pyarrow.compute as pc

    return pc.not_equal(texts, "")

"""How a text file is written: its encoding, the mark between its cells, the mark before decimals."""

from __future__ import annotations

import codecs
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from icl.tables.cells import MISSING_WORDS, shows_decimal
from icl.tables.reading import Reading

if TYPE_CHECKING:
    import pandas as pd

_HEAD = 1 << 20  # bytes that are looked at
_HEAD_ROWS = 2_000
_BLOCK = 1 << 20
# Text as people write it shrinks to a tenth; a gigabyte of zeros to a thousandth.
_LARGEST_UNPACKED, _MOST_SHRUNK = 256 << 20, 100
_MOST_COLUMNS = 100_000
_CHECKED = 256 << 20  # bytes that are tried as UTF-8 before the encoding is believed
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
_SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class Dialect:
    """What a reader of text needs to know."""

    encoding: str = "utf-8-sig"
    separator: str = ","
    skip: int = 0
    """Lines before the one with the names: Excel writes `sep=;` there."""
    decimal: str = "."
    keep: tuple[str, ...] = ()
    """Columns in which NA and the like are levels: their missing cells are empty."""
    gaps: tuple[str, ...] = ()
    """Columns of text in which NA and the like are taken for missing cells, as they may not be meant."""
    codes: tuple[str, ...] = ()
    """Columns with cells such as 007: post codes and identifiers, which are no numbers."""


def look_at(source: Path | bytes, reading: Reading, separator: str = "") -> Dialect:
    """The dialect of a text file, told from its first rows; `separator` if the ending of the name tells it.

    Raises:
        ValueError: for a compressed file that unpacks to a multiple that no table has, and for an encoding that does
            not fit.
    """
    with open_bytes(source) as file:
        head = file.read(_HEAD)
        encoding = _encoding(head, file, reading)
    _refuse_bomb(source)
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head)
    if len(head) == _HEAD and "\n" in text:
        text = text[: text.rindex("\n") + 1]
    skip = 0
    if said := re.match(r"sep=(.)\r?\n", text):
        skip, separator, text = 1, said[1], text[said.end() :]
    separator = separator or _separator(text)
    n_columns = text.split("\n", 1)[0].count(separator) + 1
    if n_columns > _MOST_COLUMNS:
        raise ValueError(f"it has {n_columns:,} columns or more; at most {_MOST_COLUMNS:,} are read.")
    raw = _head_rows(text, separator)
    decimal = reading.decimal
    if decimal == "auto":
        shown = {shows_decimal(raw[name]) for name in raw}
        # Only where no column speaks against it: 1,234 may be one thousand.
        decimal = "," if "," in shown and "." not in shown and separator != "," else "."
    keep = [str(name) for name in raw if _has_own_gaps(raw[name])] if reading.na == "auto" else []
    codes = [str(name) for name in raw if raw[name].str.fullmatch(r"0\d+").any()]
    gaps = [str(name) for name in raw if reading.na == "auto" and name not in keep and _says_na(raw[name])]
    return Dialect(encoding, separator, skip, decimal, tuple(keep), tuple(gaps), tuple(codes))


def open_bytes(source: Path | bytes) -> BinaryIO:
    """The bytes of a file, unpacked."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    import bz2
    import gzip
    import lzma

    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zip": _open_zip}
    return openers.get(source.suffix.lower(), open)(source, "rb")


def _open_zip(path: Path, mode: str) -> BinaryIO:
    import zipfile

    archive = zipfile.ZipFile(path)
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
    if len(names) != 1:
        archive.close()
        raise ValueError(f"{path} holds {len(names)} files; unpack it, and name the one with the table.")
    return archive.open(names[0])  # type: ignore[return-value]


def _refuse_bomb(source: Path | bytes) -> None:
    if isinstance(source, bytes) or source.suffix.lower() not in (".gz", ".bz2", ".xz", ".zip"):
        return
    limit = max(_LARGEST_UNPACKED, _MOST_SHRUNK * source.stat().st_size)
    unpacked = 0
    with open_bytes(source) as file:
        while block := file.read(_BLOCK):
            unpacked += len(block)
            if unpacked > limit:
                raise ValueError(
                    f"{source} has {source.stat().st_size / 1e6:,.1f} MB and unpacks to more than {limit / 1e6:,.0f} "
                    f"MB, as no table does. If it is one, unpack it first."
                )


def _encoding(head: bytes, rest: BinaryIO, reading: Reading) -> str:
    if reading.encoding != "auto":
        try:
            codecs.getincrementaldecoder(reading.encoding)().decode(head)
        except UnicodeError as error:
            raise ValueError(f"the file is not {reading.encoding} text ({error}); name another --encoding.") from error
        return "utf-8-sig" if codecs.lookup(reading.encoding).name == "utf-8" else reading.encoding
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding
    # Without a mark, UTF-16 of Western text has a zero in every other byte.
    for start, encoding in ((0, "utf-16-be"), (1, "utf-16-le")):
        part = head[start:4_000:2]
        if len(part) > 3 and part.count(0) > 0.7 * len(part) and head[1 - start : 4_000 : 2].count(0) < 0.1 * len(part):
            return encoding
    decoder, block, seen = codecs.getincrementaldecoder("utf-8")(), head, 0
    try:
        while block and seen < _CHECKED:
            decoder.decode(block)
            seen += len(block)
            block = rest.read(_BLOCK)
        if not block:
            decoder.decode(b"", final=True)
        return "utf-8-sig"
    except UnicodeDecodeError:
        return _guess(head if seen < len(head) else block)


def _guess(sample: bytes) -> str:
    """Windows' Western characters unless another script is plain: short texts mislead a guess."""
    from charset_normalizer import from_bytes

    likely = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp932", "gb18030", "big5", "cp949"]
    best = from_bytes(sample[: 1 << 16], cp_isolation=likely).best()
    if best is not None and best.alphabets and not {"Basic Latin", "Latin-1 Supplement"} >= set(best.alphabets):
        scripts = " ".join(best.alphabets)
        if any(script in scripts for script in ("Cyrillic", "Greek", "CJK", "Hiragana", "Katakana", "Hangul")):
            return best.encoding
    try:
        sample.decode("cp1252")
        return "cp1252"
    except UnicodeDecodeError:
        return "latin-1"


def _separator(text: str) -> str:
    """The mark that stands as often in every line as between the names, outside quotes."""
    bare = re.sub(r'"[^"]*"', "", text[:200_000])
    lines = [line for line in bare.splitlines()[:50] if line.strip()]
    best, score = ",", (0.0, 0)
    for mark in _SEPARATORS:
        counts = [line.count(mark) for line in lines]
        if counts and counts[0]:
            found = (round(sum(n == counts[0] for n in counts) / len(counts), 1), counts[0])
            if found > score:
                best, score = mark, found
    return best


def _head_rows(text: str, separator: str) -> pd.DataFrame:
    """The first rows as text; none if they cannot be read, which the reader will say better."""
    import pandas as pd

    try:
        return pd.read_csv(
            io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, nrows=_HEAD_ROWS, on_bad_lines="skip"
        )
    except (ValueError, OverflowError):
        return pd.DataFrame()


def _has_own_gaps(cells: pd.Series) -> bool:
    """Text in which some cells are empty and others say NA: the word is a level."""
    return _says_na(cells) and bool((cells.str.strip() == "").any())


def _says_na(cells: pd.Series) -> bool:
    """Text in which some cells say NA, not numbers."""
    known = cells[cells.str.strip() != ""]
    words = known.isin(MISSING_WORDS)
    if not words.any() or words.all():
        return False
    return not known[~words].str.fullmatch(r"[-+]?[\d.,]+(e[-+]?\d+)?").any()

"""The bytes of a file, unpacked within bounds, and what they are: text of an encoding, Parquet, Excel ..."""

from __future__ import annotations

import codecs
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

HEAD = 1 << 20  # bytes that are looked at
_BLOCK = 1 << 20
# Text as people write it shrinks to a tenth; a gigabyte of zeros to a thousandth.
_LARGEST_UNPACKED, _MOST_SHRUNK = 256 << 20, 100
_CHECKED = 256 << 20  # bytes that are tried as UTF-8 before the encoding is believed
TEXT, PARQUET, FEATHER, EXCEL = "text", "parquet", "feather", "excel"
_PACKERS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
}
_TABLES = {b"PAR1": PARQUET, b"ARROW1": FEATHER, b"FEA1": FEATHER, b"\xd0\xcf\x11\xe0": EXCEL}
_OTHERS = {
    b"%PDF": "a PDF", b"\x89PNG": "a picture", b"GIF8": "a picture", b"\xff\xd8\xff": "a picture",
    b"RIFF": "a recording or a picture", b"\x7fELF": "a program", b"SQLite format 3": "a database of SQLite",
    b"\x89HDF": "an HDF5 file", b"\x80\x04\x95": "a pickle", b"\x80\x05\x95": "a pickle",
    b"\x93NUMPY": "an array of NumPy", b"Rar!": "a RAR archive", b"7z\xbc\xaf": "a 7z archive",
}  # fmt: skip
_MARKS = {
    codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A file, or its bytes."""

    path: Path
    data: bytes | None = None
    packer: str = ""
    member: str = ""
    """Of a zip archive."""

    def open(self) -> BinaryIO:
        """The bytes, unpacked."""
        if self.packer == "zip":
            return zipfile.ZipFile(self.handle()).open(self.member)  # type: ignore[return-value]
        if self.packer == "zst":
            import pyarrow as pa

            return pa.CompressedInputStream(
                pa.BufferReader(self.data) if self.data else pa.OSFile(str(self.path)), "zstd"
            )
        if self.packer:
            import bz2
            import gzip
            import lzma

            opener: Any = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}[self.packer]
            return opener(self.handle(), "rb")
        return open(self.path, "rb") if self.data is None else io.BytesIO(self.data)

    def handle(self) -> Any:
        """What readers of Parquet and Excel take."""
        return self.path if self.data is None else io.BytesIO(self.data)

    def refuse_bomb(self) -> None:
        """ValueError for what unpacks to a multiple that no table has."""
        if not self.packer:
            return
        size = self.path.stat().st_size if self.data is None else len(self.data)
        limit = max(_LARGEST_UNPACKED, _MOST_SHRUNK * size)
        unpacked = 0
        with self.open() as file:
            while block := file.read(_BLOCK):
                unpacked += len(block)
                if unpacked > limit:
                    raise ValueError(
                        f"{self.path} has {size / 1e6:,.1f} MB and unpacks to more than {limit / 1e6:,.0f} MB, as no "
                        f"table does. If it is one, unpack it first."
                    )


def look_at(path: Path, data: bytes | None, member: str = "") -> tuple[Source, str]:
    """How a file is packed and of what kind it is, by its first bytes: names mislead.

    Args:
        member: of a zip archive with several.
    Raises:
        ValueError: for archives of several files, and for what is no table.
    """
    with Source(path, data).open() as file:
        head = file.read(2_048)
    packer = next((name for magic, name in _PACKERS.items() if head.startswith(magic)), "")
    source = Source(path, data, packer)
    if packer == "zip":
        with zipfile.ZipFile(source.handle()) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX")]
        if "xl/workbook.xml" in names or "[Content_Types].xml" in names or "mimetype" in names:
            return Source(path, data), EXCEL
        source = Source(path, data, packer, _member(path, names, member))
    if packer:
        with source.open() as file:
            head = file.read(2_048)
    kind = next((name for magic, name in _TABLES.items() if head.startswith(magic)), TEXT)
    if packer and kind != TEXT:
        raise ValueError(f"{path} holds a packed {kind} file; unpack it first.")
    what = next((name for magic, name in _OTHERS.items() if head.startswith(magic)), "")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<table", b"<?xml", b"<svg")):
        what = "a web page or XML"
    elif start.startswith((b'{"', b"{\n", b"{\r", b"[{", b"[\n", b"[[", b"{ ")) and kind == TEXT:
        what = "JSON"
    elif start.startswith(b"version https://git-lfs"):
        what = "a pointer to a file that was not fetched (git lfs pull)"
    if what:
        raise ValueError(f"{path} is {what}, not a table; save the table as .csv, .parquet or .xlsx.")
    return source, kind


def _member(path: Path, names: list[str], wanted: str) -> str:
    if wanted in names:
        return wanted
    if len(names) == 1 and not wanted:
        return names[0]
    if not names:
        raise ValueError(f"{path} holds 0 files; name another archive.")
    shown = ", ".join(names[:12])
    said = f"has no {wanted}" if wanted else f"holds {len(names)} files"
    raise ValueError(f"{path} {said}; say which one with --sheet: {shown}.")


def encoding_of(source: Source, wanted: str) -> str:
    """The encoding of a text file: `wanted`, if it fits; UTF-8 where it fits; else the likeliest.

    Raises:
        ValueError: for an encoding that does not fit, and for bytes that are no text.
    """
    with source.open() as rest:
        head = rest.read(HEAD)
        if wanted != "auto":
            try:
                codecs.getincrementaldecoder(wanted)().decode(head)
            except UnicodeError as error:
                raise ValueError(f"the file is not {wanted} text ({error}); name another --encoding.") from error
            return codecs.lookup(wanted).name.replace("utf-8-sig", "utf-8")
        for mark, encoding in _MARKS.items():
            if head.startswith(mark):
                return encoding
        # Without a mark, UTF-16 of Western text has a zero in every other byte.
        for start, encoding in ((0, "utf-16-be"), (1, "utf-16-le")):
            part, other = head[start:4_000:2], head[1 - start : 4_000 : 2]
            if len(part) > 3 and part.count(0) > 0.7 * len(part) and other.count(0) < 0.1 * len(part):
                return encoding
        strange = sum(head[:_BLOCK].count(code) for code in (*range(1, 9), *range(14, 27)))
        if strange > 0.02 * len(head):
            raise ValueError("it holds bytes that are no text; is it a table?")
        decoder, block, seen = codecs.getincrementaldecoder("utf-8")(), head, 0
        try:
            while block and seen < _CHECKED:
                decoder.decode(block)
                seen += len(block)
                block = rest.read(_BLOCK)
            if not block:
                decoder.decode(b"", final=True)
            return "utf-8"
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

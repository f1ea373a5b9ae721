"""What a person may say about their files where the files do not say it themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

KINDS = ("number", "date", "category", "text", "skip")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How files are read; every option has a default that looks at the file."""

    dates: Literal["auto", "dmy", "mdy", "ymd"] = "auto"
    """Order of day, month and year in dates; auto asks where 03/04/2024 could be both."""
    decimal: Literal["auto", ".", ","] = "auto"
    """Mark before the decimals of numbers in text: a point, a comma, or what the file itself shows."""
    sheet: str = ""
    """Sheet of an Excel file, by name or number from 1, or file in a zip archive; needed if there are several."""
    encoding: str = "auto"
    """Of text files: utf-8, cp1252, utf-16, ...; auto takes UTF-8 where it fits and guesses otherwise."""
    na: str | tuple[str, ...] = "auto"
    """More texts that mean a missing cell, separated by commas, such as -99 or age=999 for one column; with none among
    them, NA, n/a, null and the like are words as others."""
    columns: str | tuple[str, ...] = ()
    """What columns are taken for where it is not as you mean it: zip=category,day=date,code=skip. Kinds are number,
    date, category, text and skip."""

    def __post_init__(self):
        for name, known in (("dates", ("auto", "dmy", "mdy", "ymd")), ("decimal", ("auto", ".", ","))):
            if getattr(self, name) not in known:
                raise ValueError(f"--{name} is one of {', '.join(known)}; got {getattr(self, name)!r}.")
        if self.encoding != "auto":
            import codecs

            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ValueError(f"--encoding {self.encoding} is unknown; use utf-8, cp1252, utf-16 ...") from None
        if self.na != "auto":
            object.__setattr__(self, "na", read_words(self.na))
        pairs: Any = self.columns
        pairs = [f"{name}={kind}" for name, kind in pairs.items()] if isinstance(pairs, Mapping) else read_words(pairs)
        for pair in pairs:
            if pair.rpartition("=")[2] not in KINDS or not pair.rpartition("=")[0]:
                raise ValueError(f"--columns takes NAME=KIND, kinds are {', '.join(KINDS)}; got {pair!r}.")
        object.__setattr__(self, "columns", tuple(pairs))

    @property
    def kinds(self) -> dict[str, str]:
        """Column -> what it is to be taken for."""
        return {pair.rpartition("=")[0]: pair.rpartition("=")[2] for pair in self.columns}

    @property
    def na_is_missing(self) -> bool:
        return self.na == "auto" or "none" not in self.na

    def na_of(self, name: Any) -> tuple[str, ...]:
        """More texts that mean a missing cell in a column."""
        if self.na == "auto":
            return ()
        here = f"{name}="
        return tuple(w.removeprefix(here) for w in self.na if w != "none" and ("=" not in w or w.startswith(here)))


def read_words(words: str | Sequence[str]) -> tuple[str, ...]:
    """Words from a list with commas, or from a sequence; of a word with a comma, that part is in double quotes."""
    if isinstance(words, str):
        parts = re.finditer(r'(?:"[^"]*"|[^,])+', words)
        words = [re.sub(r'"([^"]*,[^"]*)"', r"\1", part[0].strip()) for part in parts]
    return tuple(word for word in words if word)


def read_names(words: Sequence[str], columns: Iterable[Any]) -> tuple[str, ...]:
    """Words as names of columns: neighbours that are none alone, but together with their commas, are one."""
    known = {_close(str(name)): str(name) for name in columns}
    found: list[str] = []
    left = list(words)
    while left:
        most = 1 if all(_close(word) in known for word in words) else len(left)
        n = next((n for n in range(most, 0, -1) if _close(",".join(left[:n])) in known), 1)
        found.append(known.get(_close(",".join(left[:n])), left[0]))
        left = left[n:]
    return tuple(found)


def _close(name: str) -> str:
    return re.sub(r"\s*,\s*", ",", name)

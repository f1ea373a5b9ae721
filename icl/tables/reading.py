"""What a person may say about their files where the files do not say it themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How files are read; every option has a default that looks at the file."""

    dates: Literal["auto", "dmy", "mdy", "ymd"] = "auto"
    """Order of day, month and year in dates; auto asks where 03/04/2024 could be both."""
    decimal: Literal["auto", ".", ","] = "auto"
    """Mark before the decimals of numbers in text."""
    sheet: str = ""
    """Sheet of an Excel file, by name or number from 1; needed if several hold cells."""
    encoding: str = "auto"
    """Of text files: utf-8, cp1252, utf-16, ...; auto takes UTF-8 where it fits and guesses otherwise."""
    na: str | tuple[str, ...] = "auto"
    """Texts that mean a missing cell, separated by commas; none: only empty cells; auto: NA, n/a, null and the like."""

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
            words = () if self.na == "none" else read_words(self.na)
            object.__setattr__(self, "na", words)


def read_words(words: str | Sequence[str]) -> tuple[str, ...]:
    """Words from a list with commas, or from a sequence."""
    if isinstance(words, str):
        words = [word.strip() for word in words.split(",")]
    return tuple(word for word in words if word)

"""Names, levels and messages from tables are text: no terminal, Markdown reader, browser or spreadsheet acts on them.

Everything that is shown passes through here when it is written, once; what objects and JSON hold stays as it came.
"""

from __future__ import annotations

import html as html_module
import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.text import Text

# Control and format characters, halves of surrogate pairs, separators of lines and paragraphs.
_ACTING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # scripts and emoji are written with them
_MARKDOWN = re.compile(
    r"[\\`*_|$]"  # code, emphasis, the edge of a cell, mathematics
    r"|<(?=[A-Za-z/!?])|&(?=#?\w+;)"  # tags and entities, but no p < 0.05
    r"|\](?=[\[(:])|:(?=//)|(?<=www)\."  # links, but no C(region)[T.south]
    r"|(?<!\S)#|~(?! )|(?<! )~",  # headings; lines through text, but no y ~ x
    re.IGNORECASE,
)
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def visible(text: Any) -> str:
    r"""One line, in which characters that act instead of being seen are spelt out: \n, \x1b, \u202e."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(_spelt(c) if unicodedata.category(c) in _ACTING and c not in _JOINERS else c for c in text)


def lines(text: Any) -> str:
    """The same of text that has lines of its own."""
    return "\n".join(map(visible, str(text).split("\n")))


def clip(text: str, most: int) -> str:
    """At most `most` characters; the middle goes, because names differ at their ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 3
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def terminal(text: Any, style: str = "") -> Text:
    """For a rich console: square brackets are no markup."""
    from rich.text import Text

    return Text(visible(text), style=style)


def markdown(text: Any) -> str:
    """For the inside of a line of Markdown, a cell of a table included: no emphasis, code, link, tag or new cell."""
    return _MARKDOWN.sub(lambda found: "\\" + found.group(), visible(text))


def figure(text: Any, most: int = 80) -> str:
    """For a label of a figure: a dollar begins no formula, and a long name leaves room for the plot."""
    return clip(visible(text), most).replace("$", r"\$")


def html(text: Any) -> str:
    """For the text and the quoted attributes of a page."""
    return html_module.escape(visible(text))


def csv(frame: pd.DataFrame) -> str:
    """The frame as CSV without its index, safe to open in a spreadsheet; see `without_formulas`."""
    return without_formulas(frame).to_csv(index=False)


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with an apostrophe before every text, cell or name of a column, that a spreadsheet would calculate.

    Those are texts that begin with = + - @. Numbers, and texts that read as numbers, stay as they are.
    """
    texts = frame.select_dtypes(exclude=["number", "bool", "datetime", "datetimetz", "timedelta"]).columns
    guarded = {name: frame[name].astype(object).map(_guarded) for name in texts}
    return frame.assign(**guarded).rename(columns=_guarded) if guarded else frame.rename(columns=_guarded)


def _guarded(cell: Any) -> Any:
    if not isinstance(cell, str) or not _FORMULA.match(cell):
        return cell
    try:
        float(cell)
    except ValueError:
        return "'" + cell
    return cell


def _spelt(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

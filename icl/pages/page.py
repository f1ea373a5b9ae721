"""Pages: built from top to bottom, self-contained, whole for a file or as a fragment for a notebook."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from icl.pages.escape import html
from icl.pages.table import Table
from icl.pages.templates import render

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass
class Page:
    """An HTML page that is built from top to bottom and needs nothing but itself."""

    title: str
    lead: str = ""
    parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        self._add("heading", text=text)

    def text(self, *paragraphs: str) -> None:
        """Paragraphs of text, names of people's tables included."""
        for paragraph in paragraphs:
            self._add("text", text=paragraph)

    def prose(self, *paragraphs: str) -> None:
        """Paragraphs of our own, in which what stands between two backticks is code."""
        for paragraph in paragraphs:
            self._add("text", text=_with_code(paragraph))

    def warning(self, text: str) -> None:
        self._add("warning", text=text)

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Names and what is to be said of each, one below the other."""
        self._add("facts", items=pairs)

    def notes(self, pairs: Sequence[tuple[str, str]]) -> None:
        """A list of sentences, each with a word in bold before it."""
        self._add("notes", items=pairs)

    def table(self, table: Table) -> None:
        from markupsafe import Markup

        self.parts.append(Markup(table.to_html()))

    def figure(self, png: bytes, caption: str) -> None:
        """An image with its caption, which is also what a screen reader says."""
        self._add("image", data=base64.b64encode(png).decode(), caption=caption)

    def details(self, summary: str, text: str) -> None:
        """Preformatted text that opens on a click."""
        self._add("details", title=summary, lines=text.split("\n"))

    def html(self) -> str:
        """The whole page, for a file."""
        return str(render("page.html", title=self.title, lead=_with_code(self.lead), parts=self.parts))

    def fragment(self) -> str:
        """The parts without title and lead, for a notebook; the styles touch nothing else there."""
        return str(render("fragment.html", parts=self.parts))

    def _add(self, kind: str, **values: Any) -> None:
        self.parts.append(render("parts.html", kind=kind, **values))


def png_bytes(figure: Any, **options: Any) -> bytes:
    """A matplotlib figure as PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, **({"format": "png", "dpi": 160, "facecolor": "white"} | options))
    return buffer.getvalue()


def _with_code(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", html(text)))

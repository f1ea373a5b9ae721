"""Tables and pages: one description of a table, shown on a terminal and in a self-contained HTML file."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from typing import Any

from icl.pages.table import Table


@dataclass
class Page:
    """An HTML page that is built from top to bottom and needs nothing but itself."""

    title: str
    lead: str
    parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        self.parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, *paragraphs: str) -> None:
        """Paragraphs of plain text; what stands between two backticks is set as code."""
        self.parts += [f"<p>{_inline(p)}</p>" for p in paragraphs]

    def warning(self, text: str) -> None:
        self.parts.append(f'<p class="warning" role="note">{_inline(text)}</p>')

    def table(self, table: Table) -> None:
        self.parts.append(table.to_html())

    def figure(self, png: bytes, caption: str) -> None:
        """An image with its caption, which is also what a screen reader says."""
        data = base64.b64encode(png).decode()
        self.parts.append(
            f'<figure class=image><div class=scroll><img src="data:image/png;base64,{data}" alt="{escape(caption)}">'
            f"</div><figcaption>{escape(caption)}</figcaption></figure>"
        )

    def details(self, summary: str, text: str) -> None:
        """Preformatted text that opens on a click."""
        self.parts.append(f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>")

    def html(self) -> str:
        return (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(self.title)}</title>'
            f"\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n<h1>{escape(self.title)}</h1>\n"
            f"<p class=lead>{_inline(self.lead)}</p>\n" + "\n".join(self.parts) + "\n</main>\n</body>\n</html>\n"
        )


def png_bytes(figure: Any) -> bytes:
    """A matplotlib figure as PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=160, facecolor="white")
    return buffer.getvalue()


def _inline(text: str) -> str:
    parts = escape(text, quote=False).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


CSS = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6675; --paper: #ffffff; --line: #d9dee6;
  --band: #f5f7fa; --blue: #1a5fb4; --red: #b3261e; --red-paper: #fdf0ef; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #9aa5b4; --paper: #14181f; --line: #323a46;
  --band: #1b212a; --blue: #82b4f5; --red: #ff9089; --red-paper: #2d1a1a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0.5rem 0; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 0.5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p { max-width: 44rem; }
.lead { font-size: 1.1rem; color: var(--soft); }
code { background: var(--band); padding: 0.05rem 0.3rem; border-radius: 4px; font-size: 0.9em; }
figure { margin: 1.5rem 0; }
figcaption { color: var(--soft); font-size: 0.92rem; max-width: 44rem; }
figure.table figcaption { color: var(--ink); font-weight: 600; margin-bottom: 0.4rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.22rem 0.75rem; text-align: left; white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0; }
th { border-bottom: 1.5px solid var(--soft); vertical-align: bottom; }
.number { text-align: right; }
tr.group td { border-top: 1px solid var(--line); }
td.chosen { color: var(--blue); }
td.invalid { color: var(--red); }
td.best, td.truth { font-weight: 700; }
.note { color: var(--soft); font-size: 0.88rem; margin: 0.4rem 0; }
.warning { border-left: 4px solid var(--red); background: var(--red-paper); padding: 0.6rem 1rem; }
figure.image img { display: block; width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 6px; margin-bottom: 0.5rem; }
@media (max-width: 36rem) { table { font-size: 0.8rem; } th, td { padding: 0.2rem 0.45rem; }
  figure.image img { min-width: 34rem; } }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--soft); }
pre { overflow-x: auto; background: var(--band); padding: 0.8rem 1rem; border-radius: 6px; font-size: 0.82rem; }
"""

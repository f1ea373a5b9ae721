"""One table, shown in a terminal, as HTML, Markdown or text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


def markdown_table(columns: dict[str, Sequence[str]]) -> list[str]:
    rule = "|".join("---" if name in LABELS else "---:" for name in columns)
    rows = zip(*columns.values(), strict=True)
    return [
        "| " + " | ".join(map(_cell, columns)) + " |",
        f"|{rule}|",
        *("| " + " | ".join(map(_cell, row)) + " |" for row in rows),
    ]


def _cell(text: Any) -> str:
    return plain(str(text)).replace("|", "\\|")


def plain(text: str) -> str:
    """Text in which Markdown sees no emphasis: y ~ a * b must not turn italic."""
    return text.replace("\\", "\\\\").replace("*", "\\*").replace("_", "\\_")


def html_table(columns: dict[str, Sequence[str]]) -> str:
    kinds = ["label" if name in LABELS else "number" for name in columns]
    header = "".join(f'<th class="{kind}">{escape(name)}</th>' for name, kind in zip(columns, kinds, strict=True))
    body, last = [], None
    for row in zip(*columns.values(), strict=True):
        style = "invalid" if any("INVALID" in str(cell) for cell in row) else ""
        shown = ["" if row[0] == last else row[0], *row[1:]]
        style += " group" if row[0] != last and last is not None and "method" in columns else ""
        cells = "".join(f'<td class="{kind}">{escape(str(cell))}</td>' for cell, kind in zip(shown, kinds, strict=True))
        body.append(f'<tr class="{style.strip()}">{cells}</tr>')
        last = row[0]
    return f"<div class=scroll><table><thead><tr>{header}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"


LABELS = ("term", "method")
"""Columns of words; all others are columns of numbers."""


def align(columns: dict[str, list[str]]) -> list[str]:
    widths = {name: max(len(name), *map(len, cells)) for name, cells in columns.items()}
    first = next(iter(columns))

    def line(cells: Sequence[str]) -> str:
        parts = [
            f"{c:<{widths[k]}}" if k == first else f"{c:>{widths[k]}}" for k, c in zip(columns, cells, strict=True)
        ]
        return "  ".join(parts).rstrip()

    header = line(list(columns))
    return [header, "-" * len(header), *(line(row) for row in zip(*columns.values(), strict=True))]


# How a row or cell is shown: rich style on a terminal; the key is the CSS class on a page.
STYLES = {"best": "bold", "truth": "bold", "chosen": "blue", "invalid": "red"}


@dataclass(frozen=True)
class Row:
    """Cells as text; `style` is a key of STYLES for the whole row, `best` are positions of cells to emphasise."""

    cells: Sequence[str]
    style: str = ""
    best: frozenset[int] = frozenset()
    starts_group: bool = False


@dataclass(frozen=True)
class Table:
    """A table of text. The first `n_labels` columns are left-aligned, the others hold numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    n_labels: int = 1
    note: str = ""

    def to_rich(self) -> Any:
        """A rich renderable that reads well from 80 columns up."""
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        note = self.note + (" *: best." if any(row.best for row in self.rows) else "")
        table = RichTable(
            title=Text(self.title, style="bold"),
            title_justify="left",
            caption=Text(note, style="dim") if note else None,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            header_style="bold",
            pad_edge=False,
        )
        for j, name in enumerate(self.columns):
            table.add_column(Text(name), justify="left" if j < self.n_labels else "right", no_wrap=True)
        for i, row in enumerate(self.rows):
            if row.starts_group and i:
                table.add_section()
            table.add_row(*(self._text(j, row) for j in range(len(row.cells))))
        return table

    def to_html(self) -> str:
        """A <figure> that scrolls sideways by itself on a narrow screen."""

        def line(row: Row) -> str:
            cells = "".join(self._cell(j, row) for j in range(len(row.cells)))
            return f"<tr class=group>{cells}</tr>" if row.starts_group else f"<tr>{cells}</tr>"

        head = "".join(
            f'<th scope="col" class="{"label" if j < self.n_labels else "number"}">{escape(name)}</th>'
            for j, name in enumerate(self.columns)
        )
        note = f"<p class=note>{escape(self.note)}</p>" if self.note else ""
        body = "\n".join(line(row) for row in self.rows)
        return (
            f"<figure class=table><figcaption>{escape(self.title)}</figcaption><div class=scroll><table>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>{note}</figure>"
        )

    def _text(self, j: int, row: Row) -> Any:
        from rich.text import Text

        text = row.cells[j]
        if any(j in other.best for other in self.rows):
            text += "*" if j in row.best else " "  # bold does not survive a pipe or a paste
        return Text(text, style=" ".join(STYLES[name] for name in self._styles(j, row)))

    def _cell(self, j: int, row: Row) -> str:
        classes = ["label" if j < self.n_labels else "number", *self._styles(j, row)]
        return f'<td class="{" ".join(classes)}">{escape(row.cells[j])}</td>'

    def _styles(self, j: int, row: Row) -> list[str]:
        """The last label names the row; those before it name its group, and keep their looks."""
        of_row = [row.style] if row.style and j >= self.n_labels - 1 else []
        return [*of_row, *(["best"] if j in row.best else [])]

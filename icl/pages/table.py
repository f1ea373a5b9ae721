"""One table, shown in a terminal, as HTML, Markdown or text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from icl.pages.escape import clip, markdown, terminal, visible
from icl.pages.templates import render

# How a row or cell is shown: rich style on a terminal; the key is the CSS class on a page.
STYLES = {"best": "bold", "truth": "bold", "chosen": "blue", "invalid": "red"}
WIDTH = 100
LONGEST, SHORTEST = 200, 17
"""Characters of a label: at most on a page, and at least where a narrow screen cuts it."""


@dataclass(frozen=True)
class Row:
    """Cells as text; `style` is a key of STYLES for the whole row, `best` are positions of cells to emphasise."""

    cells: Sequence[str]
    style: str = ""
    best: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        n_labels: the first columns, which hold words and are left-aligned; the others hold numbers.
        n_groups: of these, the first ones that name a group of rows. Every row has them; they are shown once a group.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    n_labels: int = 1
    note: str = ""
    n_groups: int = 0

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        """`console.print(table)` fits it to the console."""
        yield self.to_rich(options.max_width)

    def to_rich(self, width: int = WIDTH) -> Any:
        """A rich renderable that reads well from 80 columns up; long labels give way to the numbers beside them."""
        from rich import box
        from rich.table import Table as RichTable

        note = self.note + (" *: best." if any(row.best for row in self.rows) else "")
        table = RichTable(
            title=terminal(self.title, "bold") if self.title else None,
            title_justify="left",
            caption=terminal(note, "dim") if note else None,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            header_style="bold",
            pad_edge=False,
            collapse_padding=True,
        )
        lines = self._fitting(width - 2)
        for j, name in enumerate(next(lines)):
            table.add_column(terminal(name), justify="left" if j < self.n_labels else "right", no_wrap=True)
        for row, cells, is_new in zip(self.rows, lines, self._starts(), strict=True):
            if is_new and self.n_groups and table.row_count:
                table.add_section()
            styles = [" ".join(STYLES[name] for name in self._styles(j, row)) for j in range(len(cells))]
            table.add_row(*(terminal(cell, style) for cell, style in zip(cells, styles, strict=True)))
        return table

    def to_text(self, width: int = WIDTH) -> str:
        """Lines of plain text, columns under one another."""
        from rich.cells import cell_len

        lines = list(self._fitting(width))
        widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]

        def line(cells: Sequence[str]) -> str:
            room = [" " * (w - cell_len(cell)) for w, cell in zip(widths, cells, strict=True)]
            parts = [cell + r if j < self.n_labels else r + cell for j, (cell, r) in enumerate(zip(cells, room))]
            return "  ".join(parts).rstrip()

        head = line(lines[0])
        title, note = [visible(self.title), ""] if self.title else [], ["", visible(self.note)] if self.note else []
        return "\n".join([*title, head, "-" * cell_len(head), *map(line, lines[1:]), *note])

    def to_markdown(self) -> str:
        """A pipe table; every row says its group."""
        names, *rows = self._cells(shows_groups=True)

        def line(cells: Sequence[str]) -> str:
            return "| " + " | ".join(cells) + " |"

        marked = [
            [f"**{markdown(cell)}**" if j in row.best else markdown(cell) for j, cell in enumerate(cells)]
            for row, cells in zip(self.rows, rows, strict=True)
        ]
        rule = "|".join("---" if j < self.n_labels else "---:" for j in range(len(names)))
        title = [f"**{markdown(self.title)}**", ""] if self.title else []
        note = ["", markdown(self.note)] if self.note else []
        return "\n".join([*title, line(list(map(markdown, names))), f"|{rule}|", *map(line, marked), *note])

    def to_html(self) -> str:
        """A <figure> that scrolls sideways by itself on a narrow screen."""
        names, *rows = self._cells()
        kinds = ["label" if j < self.n_labels else "number" for j in range(len(names))]
        lines = [
            {"is_new": is_new and self.n_groups and i, "cells": [
                (" ".join([kinds[j], *self._styles(j, row)]), cell) for j, cell in enumerate(cells)
            ]}
            for i, (row, cells, is_new) in enumerate(zip(self.rows, rows, self._starts(), strict=True))
        ]  # fmt: skip
        head = list(zip(kinds, names, strict=True))
        return str(render("table.html", title=self.title, note=self.note, head=head, rows=lines))

    def _cells(self, shows_groups: bool = False) -> Iterator[list[str]]:
        """Names of the columns, then each row, as they are shown."""
        yield [clip(visible(name), LONGEST) for name in self.columns]
        for row, is_new in zip(self.rows, self._starts(), strict=True):
            cells = [clip(visible(cell), LONGEST) for cell in row.cells]
            yield cells if is_new or shows_groups else [""] * self.n_groups + cells[self.n_groups :]

    def _fitting(self, width: int) -> Iterator[list[str]]:
        """The same with the best cells marked and with labels, or then everything, cut to fit the width."""
        lines = list(self._cells())
        for j in range(len(self.columns)):
            if any(j in row.best for row in self.rows):  # bold does not survive a pipe or a paste
                for row, line in zip(self.rows, lines[1:], strict=True):
                    line[j] += "*" if j in row.best else " "
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for columns in (range(self.n_labels), range(self.n_labels, len(widths))):
            while columns and (excess := sum(widths) + 2 * (len(widths) - 1) - width) > 0:
                longest = max(columns, key=lambda j: widths[j])  # one long name pays before all are cut alike
                if widths[longest] <= SHORTEST:
                    break
                widths[longest] = max(widths[longest] - excess, SHORTEST)
        yield from ([clip(cell, w) for cell, w in zip(line, widths, strict=True)] for line in lines)

    def _starts(self) -> Iterator[bool]:
        """Whether each row starts a group; without groups every row stands for itself."""
        last = None
        for row in self.rows:
            group = tuple(row.cells[: self.n_groups])
            yield not self.n_groups or group != last
            last = group

    def _styles(self, j: int, row: Row) -> list[str]:
        """The last label names the row; those before it name its group, and keep their looks."""
        of_row = [row.style] if row.style and j >= self.n_labels - 1 else []
        return [*of_row, *(["best"] if j in row.best else [])]

"""Tables and pages: everything that goes in comes out, safely, and a page needs nothing but itself."""

import io
from html.parser import HTMLParser

import pytest
from rich.console import Console

from icl.pages.page import Page
from icl.pages.table import Row, Table

TABLE = Table(
    "Scores",
    ["table", "method", "R²"],
    [
        Row(["a<b", "ours", "0.5"], "chosen", frozenset({2})),
        Row(["a<b", "imputed", "0.4"], "invalid"),
        Row(["b", "ours", "-0.1"]),
    ],
    n_labels=2,
    note="Means.",
    n_groups=1,
)


class Balance(HTMLParser):
    """Fails on tags that are not closed in order; collects text and attributes."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.links = [], "", []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parse(html: str) -> Balance:
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    return parser


def shown(table: Table, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def words(table: Table) -> list[str]:
    return [table.title, table.note, *table.columns, *(cell for row in table.rows for cell in row.cells)]


@pytest.mark.parametrize("show", [shown, Table.to_text, Table.to_markdown, lambda t: parse(t.to_html()).text])
def test_every_form_holds_every_word(show):
    text = show(TABLE).replace("a\\<b", "a<b")
    assert [word for word in words(TABLE) if word not in text] == []


def test_groups_are_named_once_but_in_every_line_of_markdown():
    assert TABLE.to_text().count("a<b") == shown(TABLE).count("a<b") == parse(TABLE.to_html()).text.count("a<b") == 1
    assert TABLE.to_markdown().count("a\\<b") == 2
    assert TABLE.to_html().count('class="group"') == 1  # above b, not above the first


def test_columns_stand_under_one_another():
    lines = TABLE.to_text().splitlines()[2:6]
    assert len({line.index(cell) for line, cell in zip(lines[2:], ("ours", "imputed"))}) == 1
    ends = [line.rstrip("* ").rindex(c) for line, c in zip([*lines[2:], TABLE.to_text().splitlines()[6]], "541")]
    assert len(set(ends)) == 1


def test_long_labels_give_way_to_numbers():
    table = Table("", ["term", "n", "p"], [Row([f"{'long ' * 100}end{i}", "12,345.678", "0.0001"]) for i in range(2)])
    for width in (60, 80, 100):
        for text in (shown(table, width), table.to_text(width)):
            lines = [line.rstrip() for line in text.splitlines()]
            assert max(map(len, lines)) <= width
            assert sum(line.endswith("12,345.678  0.0001") or "12,345.678   0.0001" in line for line in lines) == 2
            assert "end0" in text and "end1" in text  # the ends tell terms apart
    assert "12,345.678" in parse(table.to_html()).text and len(parse(table.to_html()).text) < 800


def test_terminal_table_holds_every_cell_and_marks_the_best():
    text = shown(TABLE)
    for word in ("Scores", "table", "method", "R²", "a<b", "ours", "0.5*", "imputed", "0.4", "Means."):
        assert word in text


def test_markup_in_cells_is_text():
    assert "[red]x" in shown(Table("t", ["a"], [Row(["[red]x"])]))


def test_page_holds_every_cell_escaped():
    page = Page("Title & more", "Lead with `code`.")
    page.heading("H")
    page.table(TABLE)
    page.warning("Careful <now>.")
    page.details("More", "x < y\n  z")
    page.figure(b"\x89PNG", 'says "what"')
    parser = parse(page.html())
    for word in ("Title & more", "Lead with", "a<b", "0.4", "Means.", "Careful <now>.", "x < y\n  z", 'says "what"'):
        assert word in parser.text
    assert [link[:22] for link in parser.links] == ["data:image/png;base64,"]
    assert "http" not in page.html()

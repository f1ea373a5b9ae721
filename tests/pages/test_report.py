"""Tables and pages: everything that goes in comes out, safely, and a page needs nothing but itself."""

import io
from html.parser import HTMLParser

from rich.console import Console

from icl.pages.page import Page
from icl.pages.table import Row, Table

TABLE = Table(
    "Scores",
    ["table", "method", "R²"],
    [Row(["a<b", "ours", "0.5"], "chosen", frozenset({2}), True), Row(["", "imputed", "0.4"], "invalid")],
    n_labels=2,
    note="Means.",
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
    console.print(table.to_rich())
    return console.file.getvalue()


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

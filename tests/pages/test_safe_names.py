"""The contract of every report: whatever a name is, it is shown, and nothing in it acts."""

import io
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from nasty import NASTY

from icl.inference import OLS, Mean, fit_synsurr, infer, plan
from icl.pages import escape
from icl.pages.console import PlainConsole
from icl.pages.page import Page
from icl.pages.table import LONGEST, Row, Table

matplotlib.use("Agg")

NAMES = list(NASTY.values())
Report = dict[str, str]
"""How a report looks: "terminal", "markdown", "html", "csv"."""


def on_screen(*renderables) -> str:
    console = PlainConsole(file=io.StringIO(), width=100, highlight=False)
    console.print(*renderables)
    return console.file.getvalue()


def of_table(table: Table) -> Report:
    return {"terminal": on_screen(table) + table.to_text(), "markdown": table.to_markdown(), "html": table.to_html()}


def of_result(result) -> Report:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # of the picture; the table has the name
        page = result.to_html()
    return {
        "terminal": result.summary() + on_screen(result.to_console()) + repr(result.compare()),
        "markdown": result.to_markdown(),
        "html": page + result._repr_html_() + result.compare()._repr_html_(),
        "csv": escape.csv(result.to_frame()),
    }


def rows(n: int = 420) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(n, len(NAMES))), columns=NAMES)
    table["y"] = rng.normal(size=n)
    table["f"] = table["y"] + rng.normal(size=n)
    table.loc[table[NAMES[0]] > 0.5, "y"] = np.nan  # a shift: the warning names its columns
    return table


def levels_of_a_group() -> Report:
    y, f = np.random.default_rng(0).normal(size=(2, 12 * len(NAMES)))
    table = pd.DataFrame({"g": NAMES * 12, "y": y, "f": y + f})
    table.loc[10 * len(NAMES) :, "y"] = np.nan
    return of_result(infer(Mean("y", by="g"), table, predictions="f"))


def columns_of_a_regression() -> Report:
    result = infer(OLS("y", covariates=NAMES), rows(), predictions="f")
    assert [d.code for d in result.diagnostics if d.severity == "warning"] == ["shift"]
    return of_result(result)


def columns_of_synsurr() -> Report:
    return {"terminal": fit_synsurr(OLS("y", covariates=NAMES), rows(), predictions="f").summary()}


def plans() -> Report:
    result = infer(OLS("y", covariates=NAMES), rows(), predictions="f")
    return {"terminal": "\n".join(str(plan(result, width, term=t)) for t in NAMES for width in (0.2, 1e-6))}


def checkpoints_compared() -> Report:
    from icl.estimators.compare import Comparison

    keys = pd.DataFrame({"group": NAMES, "table": NAMES, "task": "classification", "metric": "auc"})
    scores = keys.assign(seed=0, before=0.5, after=0.6, gain=0.1, std_error=0.01)
    parts = [of_table(table) for table in Comparison(scores, {}, (NAMES[0], NAMES[1])).to_tables()]
    return {form: "\n".join(part[form] for part in parts) for form in parts[0]} | {"csv": escape.csv(scores)}


def demonstration() -> Report:
    from icl.commands.demo.page import coverage_table, score_tables

    keys = pd.DataFrame({"table": NAMES, "n_context": 60, "method": "forest"})
    scores = keys.assign(roc_auc=0.5, log_loss=0.5, r2=np.nan, rmse=np.nan, seconds=0.1)
    coverage = pd.DataFrame({"estimand": NAMES, "term": NAMES, "method": "classical", "coverage": 0.95})
    coverage = coverage.assign(monte_carlo_error=0.01, mean_width=1.0)
    parts = [of_table(score_tables(scores, 2)[0]), of_table(coverage_table(coverage, 0.95, 20))]
    return {form: "\n".join(part[form] for part in parts) for form in parts[0]} | {"csv": escape.csv(coverage)}


def table_of_its_own() -> Report:
    cells = [Row([name, name, "1.5"], "chosen", frozenset({2})) for name in NAMES]
    return of_table(Table(NAMES[0], ["name", NAMES[1], NAMES[2]], cells, 2, NAMES[3], n_groups=1))


def page_of_its_own() -> Report:
    page = Page(NAMES[0], NAMES[1])
    for name in NAMES:
        for add in (page.heading, page.text, page.prose, page.warning):
            add(name)
        page.facts([(name, name)])
        page.notes([(name, name)])
        page.details(name, name)
        page.figure(b"\x89PNG", name)
    return {"html": page.html() + page.fragment()}


REPORTS: dict[Callable[[], Report], tuple[str, ...]] = {
    levels_of_a_group: ("terminal", "markdown", "html", "csv"),
    columns_of_a_regression: ("terminal", "markdown", "html", "csv"),
    columns_of_synsurr: ("terminal",),
    plans: ("terminal",),
    checkpoints_compared: ("terminal", "markdown", "html", "csv"),
    demonstration: ("terminal", "markdown", "html", "csv"),
    table_of_its_own: ("terminal", "markdown", "html"),
    page_of_its_own: ("html",),
}
_made = cache(lambda make: make())


def reports(form: str):
    """Every report that has this form."""
    makes = [make for make, forms in REPORTS.items() if form in forms]
    return pytest.mark.parametrize("make", makes, ids=lambda make: make.__name__)


def acting(text: str) -> set[str]:
    """Characters in it that act instead of being seen."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return {c for c in text if unicodedata.category(c) in kinds} - {"\n", "\u200c", "\u200d"}


def lacking(text: str, most: int, names: Sequence[str] = NAMES) -> list[str]:
    """Names that are not there, each as far as it must be shown; white space may differ."""
    shown = [escape.visible(name)[:most].split() for name in names]
    return [" ".join(name) for name in shown if " ".join(name) not in " ".join(text.split())]


class Reader(HTMLParser):
    """What a browser would make of a page: tags, attributes, text."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.attributes, self.sources = set(), set(), set()
        self.text, self.cells, self.open = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.sources |= {value[:22] for name, value in attributes if name in ("src", "href")}
        if tag not in ("meta", "img", "hr", "br"):
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)
        if "td" in self.open:
            self.cells[-1] += data


@reports("terminal")
def test_terminal_shows_every_name_and_obeys_none(make):
    text = _made(make)["terminal"]
    assert acting(text) == set()
    assert lacking(text, 12) == []


@reports("markdown")
def test_markdown_shows_every_name_and_obeys_none(make):
    text = _made(make)["markdown"]
    assert acting(text) == set()
    page = Reader(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))
    own = {"h1", "h2", "p", "ul", "li", "strong", "blockquote", "table", "thead", "tbody", "tr", "th", "td"}
    assert page.tags <= own and page.attributes <= {"style"}
    # Every name is in a cell of its own, whole or as far as it is shown.
    assert [name for name in NAMES if not any(not lacking(cell, LONGEST // 2, [name]) for cell in page.cells)] == []
    assert "$" not in text.replace(r"\$", "")  # readers with mathematics


@reports("html")
def test_page_shows_every_name_and_obeys_none(make):
    html = _made(make)["html"]
    assert acting(html) == set()
    page = Reader(html)
    assert not page.tags & {"script", "a", "iframe", "link", "base", "object", "form"}
    assert page.attributes <= {"class", "scope", "src", "alt", "role", "lang", "charset", "name", "content"}
    assert page.sources <= {"data:image/png;base64,"}
    assert lacking("\n".join(page.text), LONGEST // 2) == []


@reports("csv")
def test_csv_holds_every_name_and_no_formula(make):
    text = _made(make)["csv"]
    frame = pd.read_csv(io.StringIO(text), keep_default_na=False)
    words = [cell for cell in frame.to_numpy().ravel() if isinstance(cell, str)]
    assert [cell for cell in words if cell.strip()[:1] in ("=", "+", "-", "@", "\uff1d")] == []
    assert [name for name in NAMES if not any(word.endswith(name) for word in words)] == []


def test_predict_shows_every_name_and_writes_no_formula(tmp_path, capsys):
    from icl.commands.main import main

    rng = np.random.default_rng(0)
    # A header of a file cannot hold these: the reader takes them for white space or for the end of the line.
    names = [name for name in NAMES if name == name.strip() and "\r" not in name and len(name) < 200]
    frame = pd.DataFrame(rng.normal(size=(60, len(names))).round(3), columns=names)
    labels = ["=cmd|' /C calc'!A0", "[/bold]\x1b[31m", "-a"]
    frame["label"] = np.array(labels)[rng.integers(0, 3, 60)]
    frame.to_csv(tmp_path / "in.csv", index=False)
    files = ["predict", str(tmp_path / "in.csv"), str(tmp_path / "in.csv"), "--target", "label"]
    frame.loc[40:, "label"] = None
    frame.to_csv(tmp_path / "in.csv", index=False)
    options = ["--checkpoint", "nano", "--members", "1", "--no_check"]
    assert main([*files, *options]) == 0
    shown = capsys.readouterr()
    assert acting(shown.out + shown.err) == set() and "Predictions" in shown.out
    assert main([*files, *options, "--proba", "--output", str(tmp_path / "out.csv")]) == 0
    assert acting(capsys.readouterr().out) == set()
    written = pd.read_csv(tmp_path / "out.csv")
    assert set(written["prediction"]) <= {"'" + labels[0], labels[1], "'" + labels[2]}
    assert [f"p_{label}" in written for label in labels] == [True] * 3
    assert names[0] in written and np.allclose(written[names[0]], frame[names[0]][40:])


def test_text_in_a_workbook_is_no_formula(tmp_path):
    from openpyxl import load_workbook

    from icl.tables.writer import TableWriter

    with TableWriter(tmp_path / "out.xlsx") as writer:
        writer.write(pd.DataFrame({"=1+1": ["=cmd|' /C calc'!A0", "-a"], "x": [-1.5, 2.0]}))
    cells = {c.value: c.data_type for row in load_workbook(tmp_path / "out.xlsx").active for c in row}
    assert cells == {"=1+1": "s", "=cmd|' /C calc'!A0": "s", "-a": "s", "x": "s", -1.5: "n", 2: "n"}


def test_errors_show_names_and_obey_none(tmp_path, capsys):
    from icl.commands.main import main

    pd.DataFrame({"\x1b[31mred": [1.0, 2.0], "[/bold]": [1.0, None]}).to_csv(tmp_path / "in.csv", index=False)
    assert main(["estimate", str(tmp_path / "in.csv"), "--outcome", "income"]) == 1
    shown = capsys.readouterr()
    assert acting(shown.out + shown.err) == set() and "\\x1b[31mred" in shown.err
    assert main(["estimate", str(tmp_path / "in.csv"), "--outcome", "[/bold]", "--predictor", "none"]) == 1
    assert "[/bold]" in capsys.readouterr().err


def test_numbers_stay_numbers_in_csv():
    frame = pd.DataFrame({"x": [-1.5, 2.0], "text": ["-1.5", "+2e3"], "-y": [-1, True], "z": ["-a", None]})
    text = escape.csv(frame)
    assert text == "x,text,'-y,z\n-1.5,-1.5,-1,'-a\n2.0,+2e3,True,\n"
    assert frame.columns[2] == "-y" and frame["z"][0] == "-a"  # the frame itself is as it was


def test_names_on_figures_are_no_mathematics():
    from matplotlib.figure import Figure

    for name in NAMES:
        label = escape.figure(name)
        assert len(label) <= 2 * 80
        figure = Figure()
        text = figure.text(0, 0, label)
        assert not text._preprocess_math(label)[1], name


@pytest.mark.parametrize("name", NAMES)
def test_escaping_twice_is_escaping_once_for_what_is_seen(name):
    assert escape.visible(escape.visible(name)) == escape.visible(name)
    assert escape.lines("a\n\x1bb") == "a\n\\x1bb"


def test_plain_names_stay_as_they_are():
    for name in (
        "C(region)[T.south]",
        "x1",
        "age + C(sex)",
        "p < 0.05",
        "y ~ x",
        "Größe in m²",
        "100 %",
        "नमस्ते",
        "👩‍🔬",
    ):
        assert escape.visible(name) == name and escape.markdown(name) == name
        assert escape.html(name).replace("&lt;", "<") == name
    assert escape.visible("a\ud800b") == "a\\ud800b"  # half a pair cannot be written to a file
    assert escape.clip("a" * 10, 10) == "a" * 10 and len(escape.clip("a" * 11, 10)) == 10

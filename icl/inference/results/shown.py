"""A result on a screen, in a notebook, as Markdown, as a page, as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from icl.inference.checks import check_level
from icl.inference.estimands import Distribution, Mean, Quantile, Shares, Statistic, Survival
from icl.inference.results.forest import forest_plot
from icl.inference.results.wording import (
    TO_KNOW,
    Reported,
    assumption,
    coefficient_table,
    comparison_table,
    facts,
    notes,
    warnings,
)
from icl.pages.escape import markdown, terminal, visible
from icl.pages.page import Page, png_bytes
from icl.pages.table import WIDTH

COMPARISON = "Methods on the same rows"
MOST_PANELS = 12
"""Terms in the picture of a page; the tables have them all. Some hundreds would be more pixels than a PNG has."""


class Shown(Reported):
    """How a result shows itself; made of its public members only."""

    def summary(self, level: float | None = None) -> str:
        """Plain text: warnings, what was estimated and how, the table, the assumption, the notes."""
        level = self._at(level)
        lines = []
        for finding in warnings(self):
            lines += [*_paragraph(finding.message, bullet=f"WARNING [{finding.code}] "), ""]
        lines += [line for name, text in facts(self) for line in _paragraph(text, f"{name:<12}", 12)]
        lines += ["", coefficient_table(self, level).to_text(), "", *_paragraph(assumption(self))]
        if notes(self):
            lines += ["", f"{TO_KNOW}:"]
            for finding in notes(self):
                lines += _paragraph(finding.message, bullet=f"  - [{finding.code}] ")
        return "\n".join(lines)

    def to_markdown(self, level: float | None = None) -> str:
        """Everything as Markdown: warnings, estimates, all methods, assumption, notes."""
        level = self._at(level)
        lines = [f"# {markdown(self.estimand)}", ""]
        for finding in warnings(self):
            lines += [f"> **Warning, {finding.code}**: {markdown(finding.message)}", ""]
        lines += [f"- {name}: {markdown(text)}" for name, text in facts(self)[1:]]
        lines += ["", coefficient_table(self, level).to_markdown(), "", f"## {COMPARISON}", ""]
        lines += [self._comparison(level).to_markdown(), "", markdown(assumption(self)), ""]
        if notes(self):
            lines += [f"## {TO_KNOW}", ""]
            lines += [f"- **{finding.code}**: {markdown(finding.message)}" for finding in notes(self)]
            lines.append("")
        return "\n".join(lines)

    def to_html(self, level: float | None = None) -> str:
        """Everything as one self-contained HTML page, forest plot included."""
        level = self._at(level)
        page = self._page(level, with_title=False)
        page.heading(COMPARISON)
        terms = [t for t in self.estimate.index if t != "Intercept"] or list(self.estimate.index)
        first = f" The first {MOST_PANELS} of {len(terms)} terms." if len(terms) > MOST_PANELS else ""
        page.figure(self._picture(level, terms[:MOST_PANELS]), f"Estimates and intervals of every method.{first}")
        page.table(self._comparison(level))
        return page.html()

    def to_console(self, level: float | None = None) -> Any:
        """A rich renderable for `console.print`: all that the page says, without the picture."""
        from rich.console import Group

        level = self._at(level)
        width = max(len(name) for name, _ in facts(self))
        parts: list[Any] = []
        for finding in warnings(self):
            parts += [terminal(f"WARNING {finding.code}: ", "bold red").append(visible(finding.message), "red"), ""]
        parts += [terminal(f"{name:<{width}}  ", "dim").append(visible(text), "not dim") for name, text in facts(self)]
        parts += ["", coefficient_table(self, level, "Estimates")]
        if self.n_unlabeled and self.has_predictions:
            parts.append(self._comparison(level, "All methods on the same rows"))
        parts.append(terminal(assumption(self)))
        for finding in notes(self):
            parts += ["", terminal(f"  {finding.code}: ", "bold").append(visible(finding.message), "not bold")]
        return Group(*parts)

    def _repr_html_(self) -> str:
        return self._page(self.level, with_title=True).fragment()

    def __repr__(self) -> str:
        return self.summary()

    def plot(
        self, ax: Any = None, terms: Sequence[str] | None = None, level: float | None = None, truth: Any = None
    ) -> Any:
        """Forest plot of all methods; see `icl.inference.results.forest.forest_plot`."""
        level = self._at(level)
        is_level = isinstance(self.estimand, (Mean, Shares, Quantile, Distribution, Survival, Statistic))
        return forest_plot(
            self.compare(level),
            self.method,
            str(self.estimand),
            ax,
            terms,
            level,
            truth,
            null=None if is_level else 0.0,
        )

    def _at(self, level: float | None) -> float:
        return check_level(self.level if level is None else level)

    def _comparison(self, level: float, title: str = "") -> Any:
        return comparison_table(self.compare(level), level, self.method, title)

    def _page(self, level: float, with_title: bool) -> Page:
        page = Page(str(self.estimand))
        for finding in warnings(self):
            page.warning(f"{finding.code}: {finding.message}")
        page.facts(facts(self)[not with_title :])
        page.table(coefficient_table(self, level))
        page.text(assumption(self))
        if notes(self):
            page.text(f"{TO_KNOW}:")
            page.notes([(finding.code, finding.message) for finding in notes(self)])
        return page

    def _picture(self, level: float, terms: Sequence[str]) -> bytes:
        import matplotlib

        with matplotlib.rc_context({"backend": "Agg"}):
            import matplotlib.pyplot as plt

            axes = self.plot(terms=terms, level=level)
            figure = np.ravel(np.asarray(axes, dtype=object))[0].figure
            image = png_bytes(figure, dpi=150, bbox_inches="tight")
            plt.close(figure)
        return image


def _paragraph(text: str, bullet: str = "", indent: int = 4) -> list[str]:
    return textwrap.wrap(bullet + visible(text), WIDTH, subsequent_indent=" " * min(len(bullet), indent))

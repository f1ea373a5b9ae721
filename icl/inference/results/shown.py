"""A result as Markdown, for a report, and as HTML, for a notebook or a page of its own."""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.results.wording import assumption, coefficient_cells, comparison_cells, head
from icl.pages.table import html_table, markdown_table, plain

if TYPE_CHECKING:
    from icl.inference.results.result import InferenceResult


def markdown(result: InferenceResult, level: float) -> str:
    """Head, coefficients, comparison of methods, assumption, diagnostics."""
    lines = [f"# {plain(str(result.estimand))}", ""]
    lines += [f"- {name}: {plain(text)}" for name, text in head(result)[1:]]
    lines += ["", *markdown_table(coefficient_cells(result, level)), ""]
    lines += ["## Methods on the same rows", "", *markdown_table(comparison_cells(result, level)), ""]
    lines += [plain(assumption(result)), ""]
    if result.diagnostics:
        lines += ["## To know before using these numbers", ""]
        lines += [f"- **{item.code}**: {plain(item.message)}" for item in result.diagnostics]
        lines.append("")
    return "\n".join(lines)


def fragment(result: InferenceResult, level: float, with_title: bool = True) -> str:
    """What a notebook shows: a <div> without the comparison, with styles that touch nothing else."""
    notes = "".join(f"<li><b>{escape(d.code)}</b>: {escape(d.message)}</li>" for d in result.diagnostics)
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in head(result)[not with_title :])
    return (
        f'<div class="icl-result"><style>{FRAGMENT_CSS}</style><dl>{facts}</dl>'
        f"{html_table(coefficient_cells(result, level))}<p>{escape(assumption(result))}</p>"
        + (f"<p>To know before using these numbers:</p><ul class=notes>{notes}</ul>" if notes else "")
        + "</div>"
    )


def page(result: InferenceResult, level: float) -> str:
    """A self-contained page: the fragment, the forest plot, the comparison of all methods."""
    title = escape(str(result.estimand))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{PAGE_CSS}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{fragment(result, level, False)}\n"
        f"<h2>Methods on the same rows</h2>\n"
        f'<img alt="Estimates and intervals of every method" src="data:image/png;base64,{_picture(result, level)}">\n'
        f'<div class="icl-result">{html_table(comparison_cells(result, level))}</div>\n</main>\n</body>\n</html>\n'
    )


def _picture(result: InferenceResult, level: float) -> str:
    import matplotlib

    buffer = BytesIO()
    with matplotlib.rc_context({"backend": "Agg"}):
        import matplotlib.pyplot as plt

        axes = result.plot(level=level)
        figure = np.ravel(np.asarray(axes, dtype=object))[0].figure
        figure.savefig(buffer, format="png", dpi=150, facecolor="white", bbox_inches="tight")
        plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


FRAGMENT_CSS = """
.icl-result dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .5rem 0 1rem; }
.icl-result dt { opacity: .65; } .icl-result dd { margin: 0; }
.icl-result .scroll { overflow-x: auto; }
.icl-result table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.icl-result th { border-bottom: 1.5px solid currentColor; }
.icl-result th, .icl-result td { padding: .2rem .8rem; text-align: right; white-space: nowrap; }
.icl-result .label { text-align: left; } .icl-result .label:first-child { padding-left: 0; }
.icl-result tr.group td { border-top: 1px solid #8886; }
.icl-result tr.invalid td:not(:first-child) { color: #b3261e; }
.icl-result p { max-width: 46rem; } .icl-result ul.notes { max-width: 46rem; }
"""
PAGE_CSS = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
img { max-width: 100%; background: #fff; border-radius: 6px; margin-bottom: 1rem; }
"""

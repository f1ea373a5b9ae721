"""An audit as text, in a notebook, as a page with pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from icl.joint.audit.columns import Pairs
from icl.joint.audit.likeness import Likeness
from icl.joint.audit.nearest import Coverage, Memorised
from icl.joint.audit.useful import Usefulness
from icl.pages import audited
from icl.pages.escape import visible
from icl.pages.page import Page, png_bytes
from icl.pages.table import WIDTH, Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_PANELS = 16
_QUESTIONS = {
    "likeness": "Told from real rows (AUC)",
    "useful": "Cost of learning from them",
    "memorised": "Equal to a training row",
    "near": "Near a training row",
    "covered": "Real rows covered",
    "columns": "Columns beyond chance",
    "pairs": "Pairs, mean difference",
}


@dataclass(frozen=True, repr=False, eq=False)
class Shown:
    """How an audit shows itself; made of its public attributes only."""

    likeness: Likeness
    useful: Usefulness | None
    memorised: Memorised
    coverage: Coverage
    columns: pd.DataFrame
    pairs: Pairs | None
    findings: list[tuple[str, str]]
    n_real: int
    n_synthetic: int
    n_holdout: int
    level: float
    tables: tuple[pd.DataFrame, pd.DataFrame]

    def to_table(self) -> Table:
        """One row for each question: what was found, and what real rows would show."""
        found, covered = self.memorised, self.coverage
        off = int((self.columns["distance"] > self.columns["by_chance"]).sum())
        rows = [["likeness", str(self.likeness), ".500"]]
        if self.useful is not None:
            u = self.useful
            rows.append(["useful", f"{u.cost:+.3f} [{u.lower:+.3f}, {u.upper:+.3f}] {u.loss}", "0"])
        rows += [
            ["memorised", f"{found.n_exact:,} rows", f"{found.expected_exact:.1f} rows"],
            ["near", f"{found.near:.1%}", f"{found.expected_near:.1%}"],
            ["covered", f"{covered.covered:.1%}", f"{covered.expected:.1%}"],
            ["columns", f"{off} of {len(self.columns)}", f"{0.05 * len(self.columns):.1f}"],
        ]
        if self.pairs is not None:
            rows.append(["pairs", f"{self.pairs.difference:.3f}", f"{self.pairs.by_chance:.3f}"])
        return Table("", ["", "found", "from real rows"], [Row([_QUESTIONS[row[0]], *row[1:]]) for row in rows])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        found = self.memorised
        out: dict[str, Any] = {
            "n_real": self.n_real,
            "n_synthetic": self.n_synthetic,
            "n_holdout": self.n_holdout,
            "auc": [self.likeness.auc, self.likeness.lower, self.likeness.upper],
            "memorised": {
                "exact": found.n_exact,
                "expected_exact": found.expected_exact,
                "near": found.near,
                "expected_near": found.expected_near,
                "p": min(2 * min(found.p_exact, found.p_near), 1.0),
                "is_excess": found.is_excess,
            },
            "covered": [self.coverage.covered, self.coverage.expected],
            "plausible": self.coverage.plausible,
            "columns": self.columns.assign(column=self.columns["column"].astype(str)).to_dict("records"),
            "findings": dict(self.findings),
        }
        if self.pairs is not None:
            out["pairs"] = [self.pairs.difference, self.pairs.by_chance]
        if (u := self.useful) is not None:
            out["useful"] = {
                "target": str(u.target), "loss": u.loss, "real": u.real, "synthetic": u.synthetic,
                "cost": [u.cost, u.lower, u.upper],
            }  # fmt: skip
        return out

    def summary(self) -> str:
        """Plain text: the counts, the table, what stands out."""
        lines = [self._counts(), "", self.to_table().to_text(), ""]
        for code, sentence in self.findings:
            lines += textwrap.wrap(f"- [{code}] {visible(sentence)}", WIDTH, subsequent_indent="  ")
        return "\n".join(lines if self.findings else [*lines, "Nothing stands out."])

    def __repr__(self) -> str:
        return self.summary()

    def _counts(self) -> str:
        held = f"{self.n_holdout:,} held out" if self.n_holdout else "none held out"
        return (
            f"{self.n_synthetic:,} synthetic rows beside {self.n_real:,} real ones, {held}; {self.level:.0%} intervals"
        )

    def plot(self, which: str = "columns") -> Figure:
        """One of the pictures of the page, a figure: "columns", "pairs", "distances" or "scores"."""
        pictures: dict[str, Callable[[], Any]] = {
            "columns": lambda: audited.plot_columns(*self.tables, self._worst(), self._labels()),
            "pairs": self._plot_pairs,
            "distances": lambda: audited.plot_distances(
                self.memorised.found, self.memorised.reference, self.memorised.has_holdout
            ),
            "scores": lambda: audited.plot_scores_of_two(self.likeness.scores, self.likeness.is_synthetic),
        }
        if which not in pictures:
            raise ValueError(f"which must be one of {', '.join(map(repr, pictures))}, got {which!r}.")
        return pictures[which]()

    def to_html(self) -> str:
        """Everything as one self-contained HTML page with pictures."""
        page = self._page()
        page.heading("Columns")
        n = len(self.columns)
        few = f" The {_MOST_PANELS} of {n} that differ most." if n > _MOST_PANELS else ""
        page.figure(self._png("columns"), f"Real rows (grey) and synthetic rows (blue), the most different first.{few}")
        page.table(self._column_table())
        if self.pairs is not None:
            page.heading("Pairs of columns")
            page.figure(
                self._png("pairs"),
                "How strongly columns go together (Cramer's V): real, synthetic, and the difference.",
            )
        page.heading("Nearness to training rows")
        page.figure(
            self._png("distances"),
            "Distance to the nearest training row. If rows are remembered, blue lies above grey at the left.",
        )
        if len(self.memorised.rows):
            page.table(self._nearest_table())
        page.heading("What a classifier says")
        page.figure(self._png("scores"), "How synthetic each row looks to a classifier that was not shown it.")
        return page.html()

    def _repr_html_(self) -> str:
        return self._page().fragment()

    def _page(self) -> Page:
        page = Page("Audit of synthetic rows", self._counts() + ".")
        for code, sentence in self.findings:
            if code in ("memorised", "copies"):
                page.warning(f"{code}: {sentence}")
        page.table(self.to_table())
        others = [finding for finding in self.findings if finding[0] not in ("memorised", "copies")]
        if others:
            page.notes(others)
        elif not self.findings:
            page.text("Nothing stands out.")
        return page

    def _worst(self) -> list:
        excess = self.columns["distance"] - self.columns["by_chance"]
        return self.columns["column"].iloc[np.argsort(-excess.to_numpy(), kind="stable")].head(_MOST_PANELS).tolist()

    def _labels(self) -> dict:
        rows = self.columns.to_dict("records")
        return {row["column"]: f"{row['distance']:.3f} (by chance {row['by_chance']:.3f})" for row in rows}

    def _plot_pairs(self) -> Figure:
        if self.pairs is None:
            raise ValueError("a single column has no pairs.")
        return audited.plot_pairs(self.pairs.real, self.pairs.synthetic)

    def _png(self, which: str) -> bytes:
        import matplotlib

        with matplotlib.rc_context({"backend": "Agg"}):
            import matplotlib.pyplot as plt

            figure = self.plot(which)
            image = png_bytes(figure, dpi=110)
            plt.close(figure)
        return image

    def _column_table(self) -> Table:
        names = ["column", "kind", "distance", "by chance", "missing", "missing, synthetic", "strange", "levels lost"]
        rows = []
        for _, row in self.columns.iterrows():
            shares = [f"{row[name]:.1%}" for name in ("missing_real", "missing_synthetic", "strange")]
            cells = [str(row["column"]), row["kind"], f"{row['distance']:.3f}", f"{row['by_chance']:.3f}", *shares]
            rows.append(Row([*cells, str(row["levels_lost"])]))
        note = "Kolmogorov-Smirnov distance of numbers, total variation of levels; by chance: its 95th percentile."
        return Table("", names, rows, n_labels=2, note=note)

    def _nearest_table(self) -> Table:
        rows = [
            Row([str(row.synthetic), str(row.real), f"{row.distance:.4f}"])
            for row in self.memorised.rows.head(8).itertuples(index=False)
        ]
        return Table("The nearest pairs", ["synthetic row", "training row", "distance"], rows, n_labels=2)

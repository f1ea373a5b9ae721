"""What `icl predict` shows on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from icl.commands.preview import cells_of
from icl.pages.escape import terminal, visible
from icl.pages.table import Row, Table

if TYPE_CHECKING:
    import pandas as pd

    from icl.commands.predict.labelled import Labelled, Request
    from icl.estimators.baseline import BaselineCheck


def _fact(console, name: str, words: str, style: str = "bold") -> None:
    """A name and what is to be said, set to the width of the terminal behind it."""
    import textwrap

    for i, line in enumerate(textwrap.wrap(visible(words), max(console.width - 12, 20), break_on_hyphens=False)):
        console.print(terminal(f"{'' if i else name:<10}  ", style).append(line, style="not bold default"))


def show_notes(console, notes: list[str]) -> None:
    """What the estimator warned of."""
    for note in notes:
        _fact(console, "note", note, "bold yellow")


def show_facts(console, train_file, labelled: Labelled, request: Request, model, same: bool) -> None:
    n = len(labelled.y)
    rows = f"{train_file.path.name}: {n:,} labelled rows"
    if labelled.n_unlabelled:
        rows += f"; {labelled.n_unlabelled:,} without {request.target} " + ("to predict" if same else "are not used")
    _fact(console, "context", rows)
    kinds = [c.dtype.kind for _, c in labelled.X.items()]
    numbers = sum(k in "iuf" for k in kinds)
    parts = [(numbers, "number"), (len(labelled.dates), "date"), (len(kinds) - numbers - len(labelled.dates), "other")]
    words = ", ".join(f"{k} {name}{'s' if k != 1 and name != 'other' else ''}" for k, name in parts if k)
    _fact(console, "features", f"{len(kinds)}: {words}")
    if labelled.unused:
        listed = [f"{name} ({why})" for name, why in list(labelled.unused.items())[:6]]
        more = f" and {len(labelled.unused) - 6} more" if len(labelled.unused) > 6 else ""
        _fact(console, "not used", ", ".join(listed) + more)
    _fact(console, "task", f"{labelled.task} of {request.target} ({labelled.why})")
    members = "1 member" if model.n_members_ == 1 else f"{model.n_members_} members"
    name = model.checkpoint_name()[1:-1] + (", its fast reader" if request.fast else "")
    _fact(console, "model", f"{name}, {request.quality}: {members}, seed {request.seed}")
    blends = len(model.blend_.names) > 1
    none = "none shown to the network: they explain too little" if blends else "none: the network alone"
    _fact(console, "companions", ", ".join(map(str, model.companions_)) or none)
    if blends:
        _fact(console, "blend", str(model.blend_))


def show_end(
    console,
    request: Request,
    labelled: Labelled,
    preview: pd.DataFrame | None,
    scored: list[tuple[str, str]],
    n_scored: int,
    n_rows: int,
    written: Path | None,
    seconds: float,
) -> None:
    """The first predictions unless they were written, the scores if there are any, and where all of it is."""
    if not written and preview is not None:
        given = {*labelled.X.columns, *labelled.unused, labelled.y.name}
        names = [c for c in preview.columns if c not in given]
        others = [c for c in preview.columns if c in given]
        # What names the rows comes first; beside many answers, one such column is enough.
        others.sort(key=lambda c: labelled.unused.get(c) != "names rows")
        first = others[: max(1, 6 - len(names))]
        cells = [cells_of(preview[c]) for c in [*first, *names]]
        rows = [Row(list(row)) for row in zip(*cells)]
        more = f"First {len(rows)} of {n_rows:,} rows; --output FILE keeps them all." if n_rows > len(rows) else ""
        table = Table(
            "Predictions",
            [*map(str, first), *map(str, names)],
            rows,
            n_labels=len(first),
            note=more or "--output FILE keeps them.",
        )
        console.print("", table, "")
    if scored:
        values = ", ".join(f"{name} {value}" for name, value in scored)
        _fact(console, "scores", f"{values} (the {n_scored:,} rows whose {request.target} is known)")
    _fact(
        console,
        "wrote" if written else "predicted",
        f"{n_rows:,} rows{f' to {written}' if written else ''}, {seconds:.1f} s",
    )


def show_folder(console, n_rows: int, n_shards: int, n_before: int, output: Path, seconds: float) -> None:
    """What was written for a folder, and what was there before."""
    before = f", {n_before:,} of them before" if n_before else ""
    _fact(console, "wrote", f"{n_rows:,} rows in {n_shards:,} files{before} to {output}, {seconds:.1f} s")


def show_check(console, check: BaselineCheck, warned: list[str]) -> None:
    """How a linear model, and the companions alone, fare on the labelled rows."""
    if warned:
        show_notes(console, warned)
    else:
        both = f"{check.metric} {check.loss:.3g}, of {check.baseline} {check.baseline_loss:.3g}"
        alone = "".join(f", of {other.baseline} alone {other.baseline_loss:.3g}" for other in check.companions)
        same = check.constant
        alone += "" if same is None else f", of {same.baseline} {same.baseline_loss:.3g}"
        _fact(console, "baseline", f"{both}{alone} (on labelled rows, out of context)")

"""`icl compare`: two checkpoints on the same rows."""

from __future__ import annotations

from typing import Literal

from jsonargparse.typing import OpenUnitInterval, PositiveInt

from icl.commands.console import make_console, status
from icl.commands.options import refuse_idle
from icl.commands.outputs import check_output, write_output
from icl.tables.reading import Reading, read_words


def compare(
    before: str,
    after: str,
    tables: str | None = None,
    target: str = "",
    task: Literal["auto", "classification", "regression"] = "auto",
    ignore: str = "",
    general: str = "bundled",
    seeds: PositiveInt = 2,
    members: PositiveInt = 4,
    level: OpenUnitInterval = 0.95,
    output: str = "",
    **reading,
) -> None:
    """Compare two checkpoints on the same rows: new tables of a domain, and general ones, with paired intervals.

    Rows that either was fine-tuned on are not asked about. For example:
    icl compare nano checkpoints/wards --tables new_wards/ --target died

    Args:
        before: name of a shipped checkpoint or path of a release folder.
        after: the other one.
        tables: folder of tables, or one file; without it only the general ones.
        target: column to predict in the tables.
        task: what the target is; "auto" takes text, truth values and up to ten whole numbers for classes.
        ignore: columns to leave out, separated by commas.
        general: folder of tables of other kinds, each with a column called target; "bundled" takes seven that
            scikit-learn carries, "none" leaves them out.
        seeds: splits of each table.
        members: guises of a table that are averaged.
        level: coverage of the intervals, a fraction.
        output: CSV file for the scores of every table and split; - for the standard output.
    """
    how = Reading(**reading)
    if tables is None:
        refuse_idle("without --tables", target=(target, ""), task=(task, "auto"), ignore=(ignore, ""))
    if output:
        check_output("--output", output, (before, after, tables, general))
    from icl.estimators.compare import compare_checkpoints
    from icl.pages import escape

    console = make_console(output)
    with status("Comparing ..."):
        found = compare_checkpoints(
            before, after, tables, target=target or None, task=task, ignore=read_words(ignore),
            general=None if general == "none" else general, seeds=seeds, members=members, reading=how,
        )  # fmt: skip
    for table in found.to_tables(level):
        console.print(table)
    for name, why in found.skipped.items():
        console.print(escape.terminal(f"left out {name}: {why}"))
    if output:
        write_output(output, escape.csv(found.scores))
        console.print(escape.terminal(f"wrote {output}"))

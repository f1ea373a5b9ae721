"""`icl inspect`: what a file's columns are taken for, and why."""

from __future__ import annotations

from icl.commands.console import make_console
from icl.tables.reading import Reading


def inspect(table: str, **reading) -> None:
    """Show what each column of a file is taken for, and why; nothing is predicted.

    Every command reads files in this way. Where it is not as you mean it, say so: --columns zip=category,day=date,
    --dates dmy, --decimal ",", --na 999. For example: icl inspect table.csv

    Args:
        table: CSV, TSV (also .gz, .bz2, .xz, .zip, .zst), Parquet, Feather or Excel file; - for the standard input.
    """
    how = Reading(**reading)
    from icl.pages.escape import terminal
    from icl.pages.table import Row, Table
    from icl.tables.files import open_table
    from icl.tables.reader import read_file

    file = open_table(table, how)
    read = read_file(file)
    console = make_console()
    rows = [Row(list(row)) for row in read.summary().itertuples(index=False)]
    said = f"{file.path.name}: {len(read.frame):,} rows, {len(rows)} columns; {file.how()}"
    console.print(Table(said, ["column", "taken for", "why", "example"], rows, n_labels=4))
    for note in read.notes:
        if " read as " in note:
            continue  # the table says so
        console.print(terminal(f"note: {note}"))

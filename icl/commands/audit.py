"""`icl audit`: synthetic rows beside the real ones they stand for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jsonargparse.typing import NonNegativeInt, OpenUnitInterval

from icl.commands.console import make_console, status
from icl.commands.outputs import check_output, write_output
from icl.tables.reading import Reading


def audit(
    real: str,
    synthetic: str,
    holdout: str = "",
    target: str = "",
    output: str = "",
    level: OpenUnitInterval = 0.95,
    seed: NonNegativeInt = 0,
    **reading,
) -> None:
    """Measure synthetic rows against real ones: told apart, useful, memorised, covered; with a page of pictures.

    Name a file of real rows that the generator did not see, if there is one: rows that it remembers then stand out from
    rows that are near by chance. For example: icl audit people.csv new.csv --holdout kept.csv --target income

    Args:
        real: file with the rows that the generator saw.
        synthetic: file with the rows that it made.
        holdout: file with real rows that it did not see.
        target: column to predict, for a model of synthetic rows beside one of real rows.
        output: file for the page (.html) or for the numbers (.json).
        level: coverage of the intervals, a fraction.
        seed: of samples and folds.
    """
    how = Reading(**reading)
    if output:
        check_output("--output", output, (real, synthetic, holdout or None))
        if not output.endswith((".html", ".json")):
            raise ValueError(f"--output {output}: name a file that ends in .html (the page) or .json (the numbers).")
    import json

    import pandas as pd

    from icl.joint.audit.run import audit as measure
    from icl.joint.synthetic.chain import unfit_columns
    from icl.pages.escape import terminal
    from icl.tables.files import open_table
    from icl.tables.reader import read_file

    console = make_console()
    read = read_file(open_table(real, how))
    tables = {"real": read.frame}
    for name, path in (("synthetic", synthetic), ("holdout", holdout)):
        if path:
            file = _opened(path, how)
            lacking = [column for column in read.frame if column not in next(iter(file.chunks(100))).columns]
            needed = [column for column in read.frame if column not in lacking]
            tables[name] = pd.concat(_chunks_alike(read, file, needed), ignore_index=True)[needed]
    unfit = unfit_columns(read.frame)
    kept = [column for column in read.frame if column not in unfit]
    for column, why in unfit.items():
        console.print(terminal(f"left out {column}: {why}"))
    parts = {name: table[[c for c in kept if c in table.columns]] for name, table in tables.items()}
    with status("Comparing ..."):
        found = measure(
            parts["real"],
            parts["synthetic"],
            holdout=parts.get("holdout"),
            target=target or None,
            level=level,
            seed=seed,
        )
    console.print(found.summary(), markup=False)
    if output:
        write_output(
            output, found.to_html() if output.endswith(".html") else json.dumps(found.to_dict(), indent=1) + "\n"
        )
        console.print(terminal(f"wrote {output}"))


def _opened(path: str, how: Reading) -> Any:
    """A file beside the real one: read as that, but `icl generate` wrote UTF-8, and no sheets but into Excel."""
    from icl.tables.files import EXCEL, open_table

    try:
        file = open_table(path, replace(how, encoding="auto", sheet=""))
    except ValueError:
        return open_table(path, how)
    return open_table(path, how) if file.kind == EXCEL or file.encoding != "utf-8" else file


def _chunks_alike(read: Any, file: Any, needed: list[Any]) -> list[Any]:
    """A file as the real rows are read, whatever it looks like itself, or in the notation of `icl generate`.

    Raises:
        ValueError: naming a cell that is neither.
    """
    try:
        return list(read.chunks_of(file, None, needed))
    except ValueError as error:
        try:
            return list(read.written_plainly().chunks_of(file, None, needed))
        except ValueError:
            raise error from None


# jsonargparse looks for the shortest address of a function: under this name it would meet `icl.audit`, and torch.
audit.__qualname__ = "audit_command"

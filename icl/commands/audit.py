"""`icl audit`: synthetic rows beside the real ones they stand for."""

from __future__ import annotations

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
            file = open_table(path, how)
            lacking = [column for column in read.frame if column not in next(iter(file.chunks(100))).columns]
            needed = [column for column in read.frame if column not in lacking]
            # Read as the real rows are, whatever the file itself looks like.
            tables[name] = pd.concat(list(read.chunks_of(file, None, needed)), ignore_index=True)[needed]
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


# jsonargparse looks for the shortest address of a function: under this name it would meet `icl.audit`, and torch.
audit.__qualname__ = "audit_command"

"""`icl impute`: the gaps of a file filled several times, and an analysis of all of them pooled."""

from __future__ import annotations

from typing import Any, Literal

from jsonargparse.typing import NonNegativeInt, OpenUnitInterval, PositiveInt

from icl.commands.console import make_console
from icl.commands.number import PositiveNumber
from icl.commands.options import refuse_idle
from icl.commands.outputs import check_ending, check_output
from icl.tables.reading import Reading, read_names, read_words


def impute(
    table: str,
    m: PositiveInt = 20,
    seed: NonNegativeInt = 0,
    estimand: str = "",
    keep: str = "",
    shift: str = "",
    rounds: PositiveInt | Literal["auto"] = "auto",
    budget: PositiveNumber = 4e6,
    checkpoint: str | None = None,
    level: OpenUnitInterval = 0.95,
    output: str = "",
    **reading,
) -> None:
    """Fill the gaps of a table m times by draws from the in-context model, and pool an analysis of all m tables.

    One filled table by itself claims to know what was drawn; intervals come from all of them. For example:
    icl impute table.csv --estimand "ols: income ~ age + sex" --output imputed.parquet

    Args:
        table: CSV, TSV (also .gz, .bz2, .xz, .zip, .zst), Parquet, Feather or Excel file; - for the standard input.
        m: completed tables.
        seed: of the draws.
        estimand: what to estimate from all of them, as of icl estimate; default: nothing.
        keep: columns whose gaps stay, separated by commas; a name with a comma in double quotes.
        shift: for a sensitivity analysis, standard deviations to add to what is drawn: income=-0.2,age=0.1.
        rounds: in which every column is drawn again; "auto": 1 if one column has gaps, else 5.
        budget: cells that the network reads in all; columns beyond it are drawn by simpler models.
        checkpoint: name of a shipped checkpoint or path of a release folder; default: the best one shipped.
        level: coverage of the intervals, a fraction.
        output: file for all completed tables under one another, after a column "imputation"; CSV, Parquet, Feather or
            Excel; - for the standard output. Text stays as it is in the table, =1+1 too, which a spreadsheet
            calculates when it opens a CSV; dates are written as 2020-03-31, numbers as 1234.5.
    """
    how = Reading(**reading)
    if not estimand:
        refuse_idle("without --estimand", level=(level, 0.95))
    if output:
        check_output("--output", output, (table, checkpoint))
        check_ending(output)
    console = make_console(output)
    from icl.joint.cost import imputation_time
    from icl.pages import escape
    from icl.pages.table import Row, Table
    from icl.tables.files import open_table
    from icl.tables.reader import read_file

    frame = read_file(open_table(table, how)).frame
    n_rounds = None if rounds == "auto" else rounds
    needs = imputation_time(frame, m, rounds=n_rounds, budget=budget, checkpoint=checkpoint)
    console.print(escape.terminal(str(needs)))
    imputed = _imputed(frame, m, seed, keep, shift, n_rounds, budget, checkpoint)
    agree = imputed.r_hat()
    rows = [
        Row(
            [str(name), f"{imputed.layout.missing[:, frame.columns.get_loc(name)].sum():,}", model, _words(agree[name])]
        )
        for name, model in imputed.models.items()
        if name not in imputed.keep  # drawn for the others' sake
    ]
    console.print(Table(f"{imputed!r}"[:200], ["column", "gaps", "drawn by", "R-hat"], rows, n_labels=3))
    if agreement := imputed.agreement():
        console.print(agreement)
    for said in imputed.notes():
        console.print(escape.terminal(f"note: {said}"))
    if estimand:
        from icl.inference import infer

        console.print(infer(estimand, imputed, level=level).to_console())
    if output:
        _write(output, imputed)
        console.print(escape.terminal(f"wrote {output}: {m} tables of {len(frame):,} rows"))


def _imputed(frame: Any, m: int, seed: int, keep: str, shift: str, rounds: Any, budget: float, checkpoint: Any) -> Any:
    import warnings

    from icl.joint.impute import ImputationWarning, impute

    shifts: dict[Any, float] = {}
    for word in read_words(shift):
        name, sign, amount = word.rpartition("=")
        if name in shifts:
            raise ValueError(f"--shift names {name!r} twice; give each column once.")
        try:
            shifts[name] = float(amount)
        except ValueError as error:
            raise ValueError(f"--shift takes column=number, separated by commas; got {word!r}.") from error
        if not sign:
            raise ValueError(f"--shift takes column=number, separated by commas; got {word!r}.")
    kept = read_names(read_words(keep), frame.columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImputationWarning)  # said below the table
        return impute(frame, m, seed, shift=shifts, keep=kept, rounds=rounds, budget=budget, checkpoint=checkpoint)


def _words(r_hat: float) -> str:
    return f"{r_hat:.2f}" if r_hat == r_hat else ""


def _write(output: str, imputed: Any) -> None:
    from icl.tables.writer import TableWriter

    with TableWriter(output) as writer:
        for i, whole in enumerate(imputed):
            whole = whole.reset_index(drop=True)
            whole.insert(0, "imputation", i)
            writer.write(whole)  # all text is the file's own, drawn cells being levels of it: it stays as it is


# jsonargparse looks for the shortest address of a function: under this name it would meet `icl.impute`, and torch.
impute.__qualname__ = "impute_command"

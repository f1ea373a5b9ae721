"""The `icl` command. Each subcommand is a function: its signature gives the options, its docstring the help.

Heavy imports stay inside the functions, so that `icl --help` is instant.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Literal

from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    OpenUnitInterval,
    PositiveFloat,
    PositiveInt,
)


def demo(
    out: str = "icl-demo",
    checkpoint: str | None = None,
    seed: NonNegativeInt = 0,
    level: OpenUnitInterval = 0.95,
    quick: bool = False,
) -> None:
    """Show the main job on real data: predict zero-shot, then estimate from few labels with valid intervals.

    Args:
        out: folder for the report, its figures and its numbers.
        checkpoint: name of a shipped checkpoint or path of a release folder; default: the best one shipped.
        seed: of splits, hidden labels and predictions.
        level: coverage of the confidence intervals, a fraction.
        quick: fewer splits and draws, for a first look.
    """
    from icl.demo import run_demo

    run_demo(out, checkpoint, seed, level, quick, _console())


def predict(
    train: str,
    test: str,
    target: str = "",
    output: str | None = None,
    id: str = "",
    task: Literal["auto", "classification", "regression"] = "auto",
    quantiles: str = "",
    interval: OpenUnitInterval | None = None,
    proba: bool = False,
    only_predictions: bool = False,
    checkpoint: str | None = None,
    members: PositiveInt = 4,
    seed: NonNegativeInt = 0,
    check: bool = True,
    fast: bool = False,
) -> None:
    """Predict a column for the rows of one file from the labelled rows of another, without training.

    Files are CSV, TSV (also .gz), Parquet or Excel; large test files stream. Rows of the first file without a target
    are left out. Name one file twice to predict those of its rows that have none. A test file that has the target is
    scored too.

    Args:
        train: file with the labelled rows.
        test: file with the rows to predict.
        target: column to predict.
        output: file for the rows of the test file and their predictions; without it, the first ones are shown.
        id: columns that only name rows, separated by commas; they are no features.
        task: what the target is; "auto" takes text, truth values and up to ten whole numbers for classes.
        quantiles: of a numeric target, fractions separated by commas, such as 0.05,0.5,0.95.
        interval: coverage of conformal intervals (sets of classes for classification), a fraction such as 0.9.
        proba: write the probability of each class.
        only_predictions: write the id columns and the predictions, no other columns.
        checkpoint: name of a shipped checkpoint or path of a release folder; default: the best one shipped.
        members: guises of the table that are averaged; cost grows with it.
        seed: of members and folds.
        check: compare with a linear baseline on the labelled rows first, if there are at most 2,000.
        fast: answer by the checkpoint's distilled reader: several times faster a row, a little less accurate.
    """
    from icl.predict import Request, run_predict

    ids = tuple(_words(id))
    fractions = _fractions("--quantiles", quantiles)
    options = (output, ids, task, fractions, interval, proba, only_predictions, checkpoint, members, seed, check, fast)
    run_predict(train, test, Request(target, *options), _console())


def checkpoints() -> None:
    """List the checkpoints that this installation ships, best first, with where they come from."""
    import json

    from icl.checkpoint import PROVENANCE, READER, WEIGHTS, available_checkpoints, shipped_folder
    from icl.report import Row, Table

    names = available_checkpoints()
    if not names:
        raise FileNotFoundError(
            f"this installation ships no checkpoint ({shipped_folder()} holds none); train one with "
            "`python train.py fit --config configs/nano.yaml`."
        )
    rows = []
    for name in names:
        folder = shipped_folder() / name
        file = folder / PROVENANCE
        facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        size = f"{(folder / WEIGHTS).stat().st_size / 1e6:.1f} MB"
        rows.append(Row([name, size, "yes" if (folder / READER).is_file() else "no", *_origin(facts)]))
    columns = ["name", "size", "fast", "parameters", "tasks seen", "device", "hours", "seed", "made", "commit"]
    _console().print(Table("Shipped checkpoints", columns, rows).to_rich())


def estimate(
    table: str,
    estimand: str = "mean",
    outcome: str | None = None,
    event: str | None = None,
    unlabeled: str | None = None,
    predictor: str = "icl",
    predictions: str | None = None,
    features: str = "",
    checkpoint: str | None = None,
    members: PositiveInt = 4,
    weight: str = "auto",
    probability: str | None = None,
    strata: str | None = None,
    clusters: str | None = None,
    row_weights: str | None = None,
    level: OpenUnitInterval = 0.95,
    folds: PositiveInt = 5,
    seed: NonNegativeInt = 0,
    output: str = "",
) -> None:
    """Estimate a mean, a quantile or regression coefficients from few labels and predictions, with valid intervals.

    Rows without an outcome are unlabeled; a model is cross-fitted on the others and predicts them all. For example:
    icl estimate table.csv --estimand "ols: income ~ age + C(sex)" --output result.html

    Args:
        table: CSV, TSV, Parquet or Excel file; a missing outcome marks an unlabeled row.
        estimand: "mean", "share: answer = yes", "median", "quantile: 0.9", "ols: y ~ x1 + C(x2)", "logistic: ...",
            "poisson: ...", "multinomial: ..."; "mean: income by region" gives the mean of each group.
        outcome: column of the outcome, if the estimand does not name it.
        event: value of the outcome that counts as 1, for shares and logistic regression.
        unlabeled: file with the unlabeled rows, if they are not in the table.
        predictor: icl (our in-context model), rf (a random forest) or none (labeled rows only).
        predictions: instead of a predictor, the column that holds out-of-sample predictions.
        features: columns that the predictor may see, separated by commas; default: all but the outcome.
        checkpoint: for icl: name of a shipped checkpoint or path of a release folder; default: the best one shipped.
        members: for icl: guises of the table whose predictions are averaged.
        weight: auto, ppi++, synsurr, coordinate, matrix, or a number (0: labeled rows only, 1: PPI).
        probability: column with the known probability of each row to be labeled.
        strata: column of strata, within which labels were drawn at random.
        clusters: column of clusters, whose rows depend on one another.
        row_weights: column of survey weights.
        level: coverage of the confidence intervals, a fraction.
        folds: of the cross-fitting.
        seed: of folds and predictor.
        output: files to write too, separated by commas: .json, .csv, .md or .html.
    """
    from icl.estimate import check_output, make_predictor, read_estimand, read_table, run_estimate, show, write
    from icl.inference import Design

    console, files = _console(), _words(output)
    for path in files:
        check_output(path)
    frame = read_table(table)
    rest = None if unlabeled is None else read_table(unlabeled)
    target = read_estimand(estimand, outcome, event, frame)
    model = None if predictions else make_predictor(predictor, target, frame, checkpoint, members, seed)
    design = Design(probability=probability, strata=strata, clusters=clusters, weights=row_weights)
    with _status(f"Estimating {target} ..."):
        result = run_estimate(
            frame, rest, target, predictor=model, predictions=predictions, features=_words(features) or None,
            weight=weight, design=design, folds=folds, seed=seed, level=level,
        )  # fmt: skip
    show(result, console)
    for path in files:
        write(result, path)
        console.print(f"wrote {path}")


# Of the name of `icl.finetune` jsonargparse would look that up, and load torch to print a help.
def finetune_(
    tables: str,
    target: str = "",
    checkpoint: str | None = None,
    out: str = "checkpoints/finetuned",
    task: Literal["auto", "classification", "regression"] = "auto",
    ignore: str = "",
    held_out: str = "",
    method: Literal["full", "last_blocks", "lora"] = "full",
    n_blocks: PositiveInt = 2,
    lora_rank: PositiveInt = 8,
    steps: PositiveInt = 200,
    lr: PositiveFloat | None = None,
    replay: ClosedUnitInterval = 0.25,
    l2_sp: NonNegativeFloat = 10.0,
    max_rows: PositiveInt = 800,
    patience: PositiveInt = 4,
    seed: NonNegativeInt = 0,
    device: str = "auto",
    devices: PositiveInt = 1,
    dry_run: bool = False,
) -> None:
    """Train a checkpoint further on the tables of a domain, so that it predicts new tables of that domain better.

    Every table is checked first; some (of one or two tables, some of their rows) are held out to choose the rate and
    the best step. After ctrl-C the same command goes on. For example:
    icl finetune wards/ --target died --checkpoint nano --out checkpoints/wards

    Args:
        tables: folder of CSV, TSV, Parquet or Excel files, one file, a folder of a Hugging Face dataset, or
            hf://owner/name.
        target: column to predict; without it any column is, another one in each task.
        checkpoint: name of a shipped checkpoint or path of a release folder; default: the best one shipped.
        out: folder of the new checkpoint.
        task: what the target is; "auto" takes text, truth values and up to ten whole numbers for classes.
        ignore: columns to leave out, separated by commas, such as identifiers.
        held_out: tables to hold out, separated by commas; default: a fifth of them at random.
        method: which weights move: all, those of the last blocks, or low-rank additions (merged at the end).
        n_blocks: of last_blocks.
        lora_rank: of lora.
        steps: at most; the run ends early when the held-out tables gain no more.
        lr: peak learning rate; default: the best of three short runs.
        replay: share of the loss on tasks of the synthetic prior, against forgetting.
        l2_sp: pull of the weights back to the checkpoint's, in units of the learning rate.
        max_rows: rows of a task.
        patience: validations without a new best after which the run ends.
        seed: of the held-out choice and the tasks.
        device: auto, cpu, gpu, ...
        devices: processes that train together.
        dry_run: check the tables, say what would be done, the memory and the time, and stop.
    """
    from icl.finetuning import FinetuneConfig, plan
    from icl.finetuning.run import finetune as run

    console = _console()
    config = FinetuneConfig(
        target=target or None, task=task, ignore=tuple(_words(ignore)), held_out=tuple(_words(held_out)),
        method=method, n_blocks=n_blocks, lora_rank=lora_rank, steps=steps, lr=lr, replay=replay, l2_sp=l2_sp,
        max_rows=max_rows, patience=patience, seed=seed, device=device, n_devices=devices,
    )  # fmt: skip
    if dry_run:
        with _status("Checking the tables and timing a few steps ..."):
            what = plan(checkpoint, tables, config)
        console.print(str(what), markup=False)
        return
    report = lambda line: console.print(line, markup=False)
    folder = run(checkpoint, tables, config, out=out, report=report, progress=sys.stderr.isatty())
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes one speaks
        console.print(f"wrote {folder}; see how it does: icl compare {checkpoint or 'nano'} {folder} --tables FOLDER")


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
        output: CSV file for the scores of every table and split.
    """
    from pathlib import Path

    from icl.compare import compare_checkpoints
    from icl.report import write_atomically

    console = _console()
    with _status("Comparing ..."):
        found = compare_checkpoints(
            before, after, tables, target=target or None, task=task, ignore=_words(ignore),
            general=None if general == "none" else general, seeds=seeds, members=members,
        )  # fmt: skip
    for table in found.to_tables(level):
        console.print(table.to_rich())
    for name, why in found.skipped.items():
        console.print(f"left out {name}: {why}", markup=False)
    if output:
        write_atomically(Path(output), found.scores.to_csv(index=False))
        console.print(f"wrote {output}")


# What the command offers, in the order of its help. A new subcommand is a function above and a line here.
COMMANDS: tuple[Callable[..., None], ...] = (demo, predict, estimate, finetune_, compare, checkpoints)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line `args` (default: that of the process) and return its exit code.

    0 for success, 1 for a run that failed (the reason goes to stderr), 2 for wrong usage, 130 for ctrl-C.
    """
    from jsonargparse import ActionYesNo, ArgumentParser, auto_cli

    from icl import __version__

    class Parser(ArgumentParser):
        """A bool option is a flag: --quick, --no_quick."""

        def add_argument(self, *names, **options):
            if options.get("type") is bool:
                del options["type"]
                options["action"] = ActionYesNo
            return super().add_argument(*names, **options)

    if args is None:  # a process of our own, in which torch is not loaded yet
        # Threads that spin while they wait take the cores from whoever else computes: beside a training run on two
        # cores the demo took 131 s, and 55 s with threads that sleep.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        auto_cli(
            {command.__name__.rstrip("_"): command for command in COMMANDS},
            args=None if args is None else list(args),
            as_positional=True,  # what has no default: files
            prog="icl",
            parser_class=Parser,
            version=__version__,
            description="In-context learning for tables: predict without training, and estimate with valid intervals.",
        )
    except SystemExit as leaving:  # how argparse ends --help, --version and wrong usage
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 2
    except KeyboardInterrupt as stop:
        print(f"interrupted: {stop}" if str(stop) else "interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"icl: {error}", file=sys.stderr)
        return 1
    return 0


def _words(text: str) -> list[str]:
    """Words from a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _fractions(option: str, words: str) -> tuple[float, ...]:
    """Fractions in (0, 1) from a list with commas."""
    try:
        numbers = tuple(float(word) for word in words.split(",") if word.strip())
    except ValueError:
        numbers = (float("nan"),)
    if not all(0 < number < 1 for number in numbers):
        raise ValueError(f"{option} takes fractions in (0, 1) separated by commas, such as 0.05,0.5,0.95; got {words}.")
    return numbers


def _console():
    from rich.console import Console

    # rich takes 80 columns where there is no terminal; a file or a log has room for more.
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=100)


def _status(text: str):
    """A spinner on stderr while something takes long; nothing where nobody watches."""
    from rich.console import Console

    return Console(stderr=True).status(text)


def _origin(facts: dict) -> list[str]:
    """Cells of provenance; a dash where a fact is missing."""

    def number(key: str) -> str:
        return f"{facts[key]:,.0f}" if isinstance(facts.get(key), (int, float)) else "—"

    hours = f"{facts['wall_seconds'] / 3600:.1f}" if isinstance(facts.get("wall_seconds"), (int, float)) else "—"
    commit = str(facts.get("git_commit") or "—")
    commit = commit[:8] + ("-dirty" if commit.endswith("-dirty") else "")
    device, made = str(facts.get("device", "—")), str(facts.get("date", "—"))[:10]
    return [number("n_parameters"), number("tasks_seen"), device, hours, str(facts.get("seed", "—")), made, commit]


if __name__ == "__main__":
    sys.exit(main())

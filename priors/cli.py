"""`python -m priors`: list priors, look at them, export them, and hold them against real tables.

Each subcommand is a function: its signature gives the options, its docstring the help. Heavy imports stay inside.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

from priors.shapes import ShapeSampler
from priors.task import Prior

Task = Literal["classification", "regression"]


def list_() -> None:
    """List the priors that have a name: what they make, whether their posterior is known, and where they come from."""
    from rich import box
    from rich.table import Table

    from priors import available_priors, make_prior

    table = Table(title="Priors", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "makes", "exact posterior", "source"):
        table.add_column(heading, no_wrap=heading == "name")
    for name in available_priors():
        prior = make_prior(name)
        exact = "yes" if hasattr(prior, "posterior_predictive") else "no"
        table.add_row(name, _first_line(type(prior)), exact, _source(type(prior)))
    _console().print(table)


def show(
    prior: str,
    seed: int = 0,
    task: Task | None = None,
    out: str | None = None,
    rows: int = 300,
    features: int = 6,
    tasks: int = 3,
    options: dict[str, Any] | None = None,
) -> None:
    """Draw a few tasks of a prior into a PNG: scatter, marginals, missing cells, correlations and the graph.

    With one feature, a prior that knows its posterior shows it as a band around its own draws.

    Args:
        prior: a name from `list`, or the dotted path of a class of yours.
        seed: of the tasks.
        task: kind of target, for priors that make both; default: classification.
        out: file; default: PRIOR.png.
        rows: context and query rows of each task; 70 % are context.
        features: columns of each task.
        tasks: how many tasks, one below the other.
        options: further constructor arguments of the prior, as JSON.
    """
    import torch
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from priors.show import draw_tasks
    from priors.task import TaskShape

    made = build_prior(prior, task, options)
    # One task a batch: some choices of a prior are made once per batch, and a look should show different ones.
    shape = TaskShape(1, rows, max(2, round(0.7 * rows)), features)
    generators = [torch.Generator().manual_seed(1_000 * seed + k) for k in range(tasks)]
    batches = [made.sample(shape, generator) for generator in generators]
    # A prior shows its graphs by a method graph(generator) -> (H, H) edges; those of `scm` are independent draws.
    graphs = [graph for k in range(tasks) if (graph := _graph(made, 1_000 * seed + k)) is not None]
    file = out or f"{prior.rsplit('.', 1)[-1]}.png"
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    draw_tasks(made, batches, figure, title=f"{made!r}, seed {seed}", graphs=graphs)
    figure.savefig(file, dpi=100)
    print(file)


def export(
    out: str,
    prior: str = "mixture",
    n: int = 100_000,
    seed: int = 0,
    workers: int = 0,
    task: Task | None = None,
    options: dict[str, Any] | None = None,
    shapes: ShapeSampler = ShapeSampler(),  # noqa: B008 - frozen
    batches_per_shard: int = 100,
    engine: Literal["local", "ray"] = "local",
) -> None:
    """Write tasks as Parquet shards of a Hugging Face dataset; the same command continues an interrupted export.

    Args:
        out: folder for the shards and dataset.json.
        prior: a name from `list`, or the dotted path of a class of yours.
        n: tasks; whole batches are written, so a few more may come.
        seed: of the stream; a folder of seed s holds the first batches that training with seed s would see.
        workers: processes that write; 0 writes in this one, or on every core of Ray. Changes nothing but speed.
        task: kind of target, for priors that make both; default: classification.
        options: further constructor arguments of the prior, as JSON.
        shapes: sampler of task shapes.
        batches_per_shard: batches of one file; also the unit of resuming.
        engine: what writes: processes of this machine, or the workers of Ray (the extra `ray`), here or on a cluster
            (RAY_ADDRESS), to a folder that all of them see.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from priors.export import export_tasks

    made, console = build_prior(prior, task, options), _console()
    columns = [TextColumn("tasks"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("tasks", total=n)
        record = export_tasks(
            out, made, shapes, n, seed, workers, batches_per_shard,
            on_shard=lambda done, total: progress.update(bar, completed=done, total=total), engine=engine,
        )  # fmt: skip
    console.print(f"{out}: {record['n_tasks']:,} tasks in {len(record['shards'])} shards")


def realism(
    tables: str | None = None,
    prior: str = "mixture",
    n: int = 300,
    out: str = ".",
    seed: int = 0,
    options: dict[str, Any] | None = None,
) -> None:
    """Compare a prior with real tables on meta-features; writes realism.md and realism.png.

    Args:
        tables: folder with index.csv and the Parquet tables that it lists, each with a column `target`.
        prior: a name from `list`, or the dotted path of a class of yours.
        n: tables to sample from the prior, in the shapes and kinds of the real ones.
        out: folder for the report.
        seed: of the tasks, the subsamples and the forests.
        options: further constructor arguments of the prior, as JSON.
    """
    from pathlib import Path

    from priors.realism import compare
    from priors.realism_report import draw_report, write_report

    if tables is None:
        raise ValueError("realism needs --tables FOLDER, with index.csv and the Parquet tables that it lists.")
    result = compare(lambda task: build_prior(prior, task, options, strict=False), tables, n, seed, prior)
    Path(out).mkdir(parents=True, exist_ok=True)
    Path(out, "realism.md").write_text(write_report(result), encoding="utf-8")
    draw_report(result).savefig(Path(out, "realism.png"), dpi=80)
    print(write_report(result))


# What has no default is positional.
COMMANDS: dict[str, Callable[..., None]] = {"list": list_, "show": show, "export": export, "realism": realism}


def build_prior(
    name: str, task: Task | None = None, options: dict[str, Any] | None = None, strict: bool = True
) -> Prior:
    """A prior from a registered name or a dotted class path.

    Args:
        task: refused, unless `strict` is False, by a prior that makes one kind of target only.
    """
    from priors import make_prior

    if "." in name:
        module, _, attribute = name.rpartition(".")
        try:
            make = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"there is no class {name!r}: {error}.") from error
    else:
        make = lambda **kwargs: make_prior(name, **kwargs)
    options = dict(options or {})
    try:
        made = make(**options)
        if task is None or getattr(made, "task", None) == task:
            return made
        if "task" in inspect.signature(type(made)).parameters:
            return make(**options, task=task)
    except TypeError as error:
        raise ValueError(f"prior {name!r} cannot be made with options {options}: {error}.") from error
    if strict:
        raise ValueError(f"prior {name!r} has no option task; leave --task out.")
    return made


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 failed (the reason on stderr), 2 wrong usage, 130 ctrl-C."""
    from jsonargparse import auto_cli

    # Threads that spin while they wait take the cores from whoever else computes.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Set, it would let variables such as PYTHON_M_PRIORS_SHOW__SEED change options that nobody sees.
    os.environ.pop("JSONARGPARSE_DEFAULT_ENV", None)
    try:
        auto_cli(
            dict(COMMANDS),
            args=None if args is None else list(args),
            prog="python -m priors",
            description="Synthetic tasks: list, show and export them, and compare them with real tables.",
        )
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 2
    except KeyboardInterrupt:
        print("interrupted; the same command continues an export", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"priors: {error}", file=sys.stderr)
        return 1
    return 0


def _graph(prior: Prior, seed: int) -> Any:
    """Edges of a graph of the prior's law, or None for a prior without graphs."""
    import torch

    from priors.scm import SCMPrior, StructuralCausalModel

    generator = torch.Generator().manual_seed(seed)
    if hasattr(prior, "graph"):
        return prior.graph(generator)
    if isinstance(prior, SCMPrior):
        n_nodes = int(torch.randint(4, max(5, min(prior.max_nodes, 14) + 1), (), generator=generator))
        n_levels = min(n_nodes, 5, 1 + prior.max_levels)
        return StructuralCausalModel.draw(1, generator, n_nodes, n_levels, n_calibration=None).edges[0]
    return None


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").split("\n")[0].rstrip(".")


def _source(kind: type) -> str:
    """What the docstring of the class, or of its file, gives under "Source:"; else nothing."""
    for text in (inspect.getdoc(kind), inspect.getdoc(inspect.getmodule(kind))):
        lines = [line.strip() for line in (text or "").split("\n")]
        if "Source:" in lines:
            rest = lines[lines.index("Source:") + 1 :]
            return " ".join(rest[: rest.index("")] if "" in rest else rest).rstrip(".")
    return "—"


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=120)

"""The `icl` command. Each subcommand is a function: its signature gives the options, its docstring the help.

Heavy imports stay inside the functions, so that `icl --help` is instant.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from jsonargparse.typing import NonNegativeInt, OpenUnitInterval


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


def checkpoints() -> None:
    """List the checkpoints that this installation ships, best first, with where they come from."""
    import json

    from icl.checkpoint import PROVENANCE, WEIGHTS, available_checkpoints, shipped_folder
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
        rows.append(Row([name, size, *_origin(facts)]))
    columns = ["name", "size", "parameters", "tasks seen", "device", "hours", "seed", "made", "commit"]
    _console().print(Table("Shipped checkpoints", columns, rows).to_rich())


# What the command offers, in the order of its help. A new subcommand is a function above and a line here.
COMMANDS: tuple[Callable[..., None], ...] = (demo, checkpoints)


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
            {command.__name__: command for command in COMMANDS},
            args=None if args is None else list(args),
            as_positional=False,
            prog="icl",
            parser_class=Parser,
            version=__version__,
            description="In-context learning for tables: predict without training, and estimate with valid intervals.",
        )
    except SystemExit as leaving:  # how argparse ends --help, --version and wrong usage
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"icl: {error}", file=sys.stderr)
        return 1
    return 0


def _console():
    from rich.console import Console

    # rich takes 80 columns where there is no terminal; a file or a log has room for more.
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=100)


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

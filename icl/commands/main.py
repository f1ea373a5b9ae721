"""The `icl` command. Each subcommand is a function: its signature gives the options, its docstring the help.

Heavy imports stay inside the functions, so that `icl --help` is instant.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from icl.commands.checkpoints import checkpoints
from icl.commands.compare import compare
from icl.commands.demo import demo
from icl.commands.estimate import estimate
from icl.commands.finetune import finetune_
from icl.commands.predict import predict
from icl.pages.escape import lines

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
        print(lines(f"icl: {error}"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

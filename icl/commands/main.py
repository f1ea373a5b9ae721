"""The `icl` command: its subcommands and its exit codes. A subcommand is a function, its signature gives the options.

What a signature takes as `**options` are the fields of the dataclass that gets them. Heavy imports stay inside the
functions, so that `icl --help` is instant.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Callable, Sequence

from icl.commands.audit import audit
from icl.commands.checkpoints import checkpoints
from icl.commands.compare import compare
from icl.commands.demo import demo
from icl.commands.estimate import estimate
from icl.commands.finetune import finetune
from icl.commands.generate import generate
from icl.commands.impute import impute
from icl.commands.inspect import inspect
from icl.commands.predict import predict
from icl.commands.serve import serve
from icl.pages.escape import lines

# What the command offers, in the order of its help. A new subcommand is a function in its own file, and a name here.
COMMANDS: tuple[Callable[..., None], ...] = (
    demo, inspect, predict, estimate, impute, generate, audit, finetune, compare, checkpoints,
    serve,
)  # fmt: skip


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line `args` (default: that of the process) and return its exit code.

    0 for success, 1 for a run that failed (the reason goes to stderr), 2 for wrong usage, 130 for ctrl-C, 141 if the
    reader of the output went away.
    """
    from icl.commands.options import as_options
    from icl.commands.parser import run_command

    if args is None:  # a process of our own, in which torch is not loaded yet
        # Threads that spin while they wait take the cores from whoever else computes: beside a training run on two
        # cores the demo took 131 s, and 55 s with threads that sleep.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        # What is imported is no garbage: looking for some in it, on the way and once more at the end, took 1.6 of the
        # 6.1 s of a prediction for 80 rows.
        gc.set_threshold(20_000, 10, 10)
        atexit.register(gc.freeze)
    try:
        run_command(COMMANDS, sys.argv[1:] if args is None else args)
    except SystemExit as leaving:  # how argparse ends --help, --version and wrong usage
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 2
    except KeyboardInterrupt as stop:
        print(f"interrupted: {stop}" if str(stop) else "interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever reads our output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python says so once more when it ends
        return 141  # as a shell tells it
    except (ValueError, OSError) as error:
        print(lines(as_options(f"icl: {error}")), file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"icl: there is not enough memory for this{f' ({error})' if str(error) else ''}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

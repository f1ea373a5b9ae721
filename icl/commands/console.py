"""What the commands share: the console, a spinner."""

from __future__ import annotations

import sys


def make_console(output: str | tuple[str, ...] | None = None):
    """The console on stdout; on stderr if the output itself goes to stdout, as "-"."""
    from icl.pages.console import PlainConsole

    # rich takes 80 columns where there is no terminal; a file or a log has room for more.
    outputs = output if isinstance(output, tuple) else (output,)
    stream = sys.stderr if "-" in outputs else sys.stdout
    return PlainConsole(file=stream, highlight=False, width=None if stream.isatty() else 100)


def status(text: str):
    """A spinner on stderr while something takes long; nothing where nobody watches."""
    from icl.pages.console import PlainConsole
    from icl.pages.escape import terminal

    return PlainConsole(stderr=True).status(terminal(text))

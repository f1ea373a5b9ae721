"""What the commands share: the console, a spinner."""

from __future__ import annotations

import sys


def make_console():
    from icl.pages.console import PlainConsole

    # rich takes 80 columns where there is no terminal; a file or a log has room for more.
    return PlainConsole(highlight=False, width=None if sys.stdout.isatty() else 100)


def status(text: str):
    """A spinner on stderr while something takes long; nothing where nobody watches."""
    from icl.pages.console import PlainConsole
    from icl.pages.escape import terminal

    return PlainConsole(stderr=True).status(terminal(text))

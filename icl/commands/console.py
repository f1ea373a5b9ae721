"""What the commands share: lists on the command line, the console, a spinner."""

from __future__ import annotations

import sys


def read_words(text: str) -> list[str]:
    """Words from a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def read_fractions(option: str, words: str) -> tuple[float, ...]:
    """Fractions in (0, 1) from a list with commas."""
    try:
        numbers = tuple(float(word) for word in words.split(",") if word.strip())
    except ValueError:
        numbers = (float("nan"),)
    if not all(0 < number < 1 for number in numbers):
        raise ValueError(f"{option} takes fractions in (0, 1) separated by commas, such as 0.05,0.5,0.95; got {words}.")
    return numbers


def make_console():
    from icl.pages.console import PlainConsole

    # rich takes 80 columns where there is no terminal; a file or a log has room for more.
    return PlainConsole(highlight=False, width=None if sys.stdout.isatty() else 100)


def status(text: str):
    """A spinner on stderr while something takes long; nothing where nobody watches."""
    from icl.pages.console import PlainConsole
    from icl.pages.escape import terminal

    return PlainConsole(stderr=True).status(terminal(text))

"""A bar on stderr with the time that is left, while columns are drawn."""

from __future__ import annotations

import sys
from collections.abc import Callable

Step = Callable[[int], None]


def unseen(n: int) -> None:
    """A step that nobody watches."""


class Progress:
    """`with Progress("imputing", 40, None) as step: step(n)` after each n of 40.

    Args:
        show: None: where somebody watches, in a terminal.
    """

    def __init__(self, what: str, total: int, show: bool | None):
        self._what, self._total = what, total
        self._show = sys.stderr.isatty() if show is None else show

    def __enter__(self) -> Step:
        if not self._show:
            return unseen
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn(self._what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=Console(file=sys.stderr), transient=True)
        self._bar.start()
        task = self._bar.add_task(self._what, total=self._total)
        return lambda n: self._bar.advance(task, n)

    def __exit__(self, *_: object) -> None:
        if self._show:
            self._bar.stop()

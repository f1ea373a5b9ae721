"""Progress of long work, on stderr."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def progress(console) -> Iterator[Any]:
    """step(words, total) shows a new line of progress and returns its advance(n); total None for a spinner."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    words = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), words, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def step(words: str, total: int | None):
            for task in progress.task_ids:
                progress.remove_task(task)
            task = progress.add_task(words, total=total)
            return lambda n=1: progress.advance(task, n)

        yield step

"""The console of the commands: what is printed is text, never markup or a control sequence."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from icl.pages.escape import lines


class PlainConsole(Console):
    """Prints strings as they are, in any renderable; style comes from Text objects only."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(lines(text), **(options | {"markup": False, "emoji": False}))

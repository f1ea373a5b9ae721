"""The templates of pages, and their one style sheet: what is put in is escaped, unless it comes from a template."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from icl.pages.escape import visible

if TYPE_CHECKING:
    from markupsafe import Markup


def render(name: str, **values: Any) -> Markup:
    """The template `name` filled in."""
    from markupsafe import Markup

    return Markup(_environment().get_template(name).render(**values))


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Escaping by Jinja is HTML's; before it, control characters are spelt out as everywhere.
    return Environment(
        loader=PackageLoader("icl.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=lambda value: visible(value) if type(value) is str else value,
    )  # fmt: skip

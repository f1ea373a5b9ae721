"""The parser of the command line: jsonargparse, with flags, dashes in names, and errors in words."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from jsonargparse import ActionYesNo, ArgumentParser, auto_cli, set_parsing_settings

# What jsonargparse says of a restricted number -> what it takes, in words.
_TAKES = {
    "OpenUnitInterval": "a fraction between 0 and 1, such as 0.9",
    "PositiveInt": "a whole number of at least 1",
    "NonNegativeInt": "a whole number of at least 0",
}


class Parser(ArgumentParser):
    """A bool option is a flag: --quick, --no_quick; wrong usage is one sentence."""

    def add_argument(self, *names, **options):
        if options.get("type") is bool:
            del options["type"]
            options["action"] = ActionYesNo
        return super().add_argument(*names, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        at = getattr(ex, "subcommand_parser", None) or self
        name = at.prog.replace(" [options]", "")
        print(f"{name}: {_in_words(message)}\nAll options: {name} --help", file=sys.stderr)
        self.exit(2)


def run_command(commands: Sequence[Callable[..., None]], args: Sequence[str]) -> None:
    """Parse `args` and call the command that they name."""
    from icl import __version__

    # Set, it would let variables such as ICL_PREDICT__SEED change options that nobody sees.
    os.environ.pop("JSONARGPARSE_DEFAULT_ENV", None)
    set_parsing_settings(docstring_parse_attribute_docstrings=True)  # the help of a dataclass's field
    try:
        auto_cli(
            {command.__name__: command for command in commands},
            args=with_underscores(args),
            as_positional=True,  # what has no default: files
            prog="icl",
            parser_class=Parser,
            version=__version__,
            description="In-context learning for tables: predict without training, and estimate with valid intervals.",
        )
    except RecursionError as error:
        raise ValueError("a value or configuration is nested too deeply to be read.") from error


def with_underscores(args: Sequence[str]) -> list[str]:
    """--no-check as --no_check."""
    return [re.sub(r"^--[^=]+", lambda name: "--" + name[0][2:].replace("-", "_"), arg) for arg in args]


def _in_words(message: str) -> str:
    """What the parser says, with the option as it was written and what it takes."""
    said = " ".join(message.split())
    key = re.search(r'Parser key "([^"]+)": ', said)
    if not key:
        return said
    option, reason = f"--{key[1].rpartition('.')[2]}", said[key.end() :]
    restricted = re.search(r"Not of type (\w+):(.*?) does not conform", reason)
    if restricted and restricted[1] in _TAKES:
        given = re.search(r"Given value: (.*)", reason)  # what may be absent says it at its end
        return f"{option} takes {_TAKES[restricted[1]]}; got {given[1] if given else restricted[2].strip()}."
    return f"{option}: {reason}"

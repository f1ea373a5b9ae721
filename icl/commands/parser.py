"""The parser of the command line: jsonargparse, with flags, dashes in names, and errors in words."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter, Namespace, auto_cli, set_parsing_settings

from icl.commands.outputs import check_output, check_replaced
from icl.tables.reading import read_words

# What jsonargparse says of a restricted number -> what it takes, in words.
_TAKES = {
    "OpenUnitInterval": "a fraction between 0 and 1, such as 0.9",
    "ClosedUnitInterval": "a fraction from 0 to 1, such as 0.9",
    "PositiveInt": "a whole number of at least 1",
    "NonNegativeInt": "a whole number of at least 0",
    "PositiveNumber": "a number above 0 and below 1e12",
    "NonNegativeFloat": "a number of at least 0",
    "int": "a whole number",
    "float": "a number",
}

# Options that take several values, or ask a question: given twice, both are meant.
SEVERAL = {
    "--columns", "--companions", "--constraints", "--estimand", "--features", "--given", "--held_out", "--id",
    "--ignore", "--keep", "--na", "--output", "--predictions", "--predictor", "--quantiles", "--shift", "--target",
}  # fmt: skip
# Of these, what takes one value, everywhere or but for one command; and what is not separated by commas.
_ONE, _ONE_BUT_OF = {"--estimand", "--held_out", "--target"}, {"--output": "estimate", "--shift": "impute"}
_SEPARATED = {"--constraints": "; "}


class Words(DefaultHelpFormatter):
    """Help without types, and without defaults that say nothing."""

    def _expand_help(self, action):
        said = re.fullmatch(
            r"(.*?)(?: \((?:required, )?type: .*?(?:, default: (.*))?\))?", super()._expand_help(action), re.S
        )
        text, default = said.groups() if said else ("", None)
        return text if default in (None, "", "null", "()", "[]") else f"{text} (default: {default})"


class Parser(ArgumentParser):
    """A bool option is a flag: --quick, --no_quick; wrong usage is one sentence."""

    def __init__(self, *args, **options):
        options["formatter_class"] = Words
        super().__init__(*args, **options)

    def add_argument(self, *names, **options):
        if options.get("type") is bool:
            del options["type"]
            options["action"] = ActionYesNo
        return super().add_argument(*names, **options)

    def parse_args(self, *args, **options):
        parsed = super().parse_args(*args, **options)
        if "subcommand" in parsed:
            _spare_configurations(parsed)
        return parsed

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        at = getattr(ex, "subcommand_parser", None) or self
        name = at.prog.replace(" [options]", "")
        missing = re.search(r"arguments are required: (.*)", message)
        if missing and (command := re.match(r"(\w+)\.", missing[1])):  # the command of the files that are missing
            name, message = f"{name} {command[1]}", "name the files: " + missing[1].replace(command[0], "")
        unknown = re.fullmatch(r"unrecognized arguments: (--\w+).*", message, re.DOTALL)
        if unknown:
            known = [option for action in at._actions for option in action.option_strings]
            near = difflib.get_close_matches(unknown[1], known, 1)
            message += f"; did you mean {near[0]}?" if near else ""
        print(f"{name}: {_in_words(message)}\nAll options: {name} --help", file=sys.stderr)
        self.exit(2)


def run_command(commands: Sequence[Callable[..., None]], args: Sequence[str]) -> None:
    """Parse `args` and call the command that they name."""
    from icl import __version__

    # Set, it would let variables such as ICL_PREDICT__SEED change options that nobody sees.
    os.environ.pop("JSONARGPARSE_DEFAULT_ENV", None)
    # The help of a dataclass's field is read from its source, a third of the time: for whoever asks for it.
    for_help = any(arg in ("-h", "--help") or arg.startswith("--print_config") for arg in args)
    set_parsing_settings(docstring_parse_attribute_docstrings=for_help)
    # The parsers of the others take a tenth of a second.
    asked = [command for command in commands if args and args[0] == command.__name__]
    args = with_underscores(args)
    refuse_repeated(args)
    try:
        auto_cli(
            {command.__name__: command for command in asked or commands},
            args=args,
            as_positional=True,  # what has no default: files
            prog="icl",
            parser_class=Parser,
            version=__version__,
            description="In-context learning for tables: predict without training, and estimate with valid intervals.",
        )
    except RecursionError as error:
        raise ValueError("a value or configuration is nested too deeply to be read.") from error
    finally:
        # Of the whole process, where another parser takes a third longer with it, and shows nothing more.
        set_parsing_settings(docstring_parse_attribute_docstrings=False)


def with_underscores(args: Sequence[str]) -> list[str]:
    """--no-check as --no_check."""
    return [re.sub(r"^--[^=]+", lambda name: "--" + name[0][2:].replace("-", "_"), arg) for arg in args]


def refuse_repeated(args: Sequence[str]) -> None:
    """End with a sentence where an option of which a person may want both comes twice with two values.

    The parser keeps the last, as is the custom for numbers and words that a script gives and its user changes.
    """
    given: dict[str, list[str]] = {}
    command = f"icl {args[0]}" if args and not args[0].startswith("-") else "icl"
    for arg, following in zip(args, [*args[1:], ""]):
        name, mark, value = arg.partition("=")
        if name in SEVERAL:
            given.setdefault(name, []).append(value if mark else following)
    for name, values in given.items():
        if len(set(values)) > 1:
            is_one = name in _ONE or _ONE_BUT_OF.get(name, args[0]) != args[0]
            joined = shlex.quote(_SEPARATED.get(name, ",").join(values))
            hint = ", for it takes one value" if is_one else f", with all values: {name} {joined}"
            print(
                f"{command}: {name} is given {len(values)} times, as {' and as '.join(values)}; give it once{hint}.\n"
                f"All options: {command} --help",
                file=sys.stderr,
            )
            raise SystemExit(2)


def _spare_configurations(parsed: Namespace) -> None:
    """Refuse an output that is a configuration which the options were read from: the command itself never sees it."""
    asked = parsed[parsed.subcommand]
    configurations = [str(file) for level in (parsed, asked) for file in level.get("config") or ()]
    if not configurations:
        return
    for output in read_words(asked.get("output") or ()):
        check_output("--output", output, configurations)
    if "out" in asked:
        check_replaced("--out", asked.out, configurations)


def _in_words(message: str) -> str:
    """What the parser says, with the option as it was written and what it takes."""
    said = " ".join(message.split())
    choice = re.search(r"argument subcommand: invalid choice: '(.*?)' \(choose from (.*)\)", said)
    if choice:
        commands = re.findall(r"\w+", choice[2])
        near = difflib.get_close_matches(choice[1], commands, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        return f"there is no command {choice[1]!r}{hint} Commands: {', '.join(commands)}."
    key = re.search(r'Parser key "([^"]+)": ', said)
    if not key:
        return said
    option, reason = f"--{key[1].rpartition('.')[2]}", said[key.end() :]
    restricted = re.search(r"(?:Not of type|Expected an?) (?:<class ')?(\w+)", reason)
    if restricted and restricted[1] in _TAKES:
        # What may be absent says it at its end; others before what is wrong with it, or after.
        given = re.search(r"Given value: (\S*)$|Got value: (\S*)$|: (\S*) does not conform|: '(.*)'$", reason)
        got = f"; got {next(part for part in given.groups() if part is not None)}" if given else ""
        return f"{option} takes {_TAKES[restricted[1]]}{got}."
    listed = re.search(r"Expected a typing\.Literal\[(.*)\]\. Got value: (.*)", reason)
    if listed:
        return f"{option} takes one of {listed[1].replace(chr(39), '')}; got {listed[2]}."
    return f"{option}: {reason}"

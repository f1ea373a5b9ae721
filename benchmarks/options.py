"""The command-line options that several benchmarks share, stated once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

SHARED: dict[str, dict[str, Any]] = {
    "tables": {"type": Path, "required": True, "help": "folder of the benchmark tables"},
    "peer": {"type": Path, "help": "archive of TabPFN v2's outputs"},
    "checkpoint": {"default": "nano", "help": "name of a release, or its folder"},
    "name": {"help": "default: icl-CHECKPOINT"},
    "n_estimators": {"type": lambda text: text if text == "auto" else int(text), "default": "auto"},
    "quality": {"choices": ["fast", "default", "best"], "default": "default"},
    "seeds": {"default": "0", "help": "separated by commas"},
    "tiers": {"default": "12", "help": "1: tables of public benchmarks; 12: the other real ones, too"},
    "datasets": {"default": "", "help": "names, separated by commas; default: all"},
    "limit": {"type": int, "default": 0, "help": "so many tables, spread over the sizes; default: all"},
    "jobs": {"type": int, "default": 2, "help": "tables at a time, one thread each"},
    "fresh": {"action": "store_true", "help": "score again what was scored before"},
    "out": {"type": Path, "help": "default: checkpoints/CHECKPOINT"},
}

# What every script that scores a release on the tables takes.
SCORING = (
    "tables",
    "checkpoint",
    "name",
    "n_estimators",
    "quality",
    "seeds",
    "tiers",
    "datasets",
    "limit",
    "jobs",
    "fresh",
    "out",
)


def shared_parser(description: str | None, *names: str, **changed: Any) -> argparse.ArgumentParser:
    """A parser with these of the shared options, whose help is the docstring of the script.

    Args:
        changed: other defaults, by name.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in names:
        parser.add_argument(f"--{name}", **SHARED[name])
    parser.set_defaults(**changed)
    return parser


def complete(options: argparse.Namespace) -> argparse.Namespace:
    """The options with `out` and `name` derived from the checkpoint where they were not given."""
    name = Path(options.checkpoint).name
    options.out = options.out or Path("checkpoints") / name
    if hasattr(options, "name"):
        options.name = options.name or f"icl-{name}"
    return options

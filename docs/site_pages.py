"""Pages of the site that stand elsewhere in the repository, or that the parser writes: made when the site is built."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
GENERATED = HERE / "_generated"


def copied() -> dict[Path, str]:
    """File of the repository -> name of its page, below `_generated`."""
    pages = {path: f"benchmarks/{path.stem}" for path in sorted((ROOT / "benchmarks").glob("*.md"))}
    for folder in sorted((ROOT / "checkpoints").iterdir()):
        if folder.is_dir():
            pages |= {path: f"cards/{folder.name}-{path.stem.lower()}" for path in sorted(folder.glob("*.md"))}
    pages[ROOT / "checkpoints" / "README.md"] = "cards/index-of-checkpoints"
    pages[ROOT / "CHANGELOG.md"] = "changelog"
    pages[ROOT / "SECURITY.md"] = "security"
    pages[ROOT / "ARCHITECTURE.md"] = "architecture"
    pages[ROOT / "CONTRIBUTING.md"] = "contributing"
    return pages


def write_generated() -> None:
    """Everything below `_generated`, anew."""
    shutil.rmtree(GENERATED, ignore_errors=True)
    for path, name in copied().items():
        target = GENERATED / f"{name}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_links(path.read_text(encoding="utf-8"), path, target), encoding="utf-8")
    (GENERATED / "commands.md").write_text(command_reference(), encoding="utf-8")


def link_outside(app, docname: str, source: list[str]) -> None:
    """Links of pages in docs/ that lead out of it, to where those pages are on the site."""
    path = HERE / f"{docname}.md"
    if path.is_file() and not docname.startswith("_generated"):
        source[0] = _links(source[0], path, path)


def _links(text: str, origin: Path, target: Path) -> str:
    """`text` of `origin` as it reads at `target`: links to pages of the site, images beside it, the rest as code."""
    pages = copied()

    def moved(found: re.Match) -> str:
        image, words, where = found.groups()
        if "://" in where or where.startswith(("#", "mailto:")):
            return found.group()
        name, _, anchor = where.partition("#")
        path = (origin.parent / name).resolve()
        if path.suffix == ".png" and path.is_file():
            if path.is_relative_to(HERE):
                return found.group()
            (GENERATED / "pictures").mkdir(parents=True, exist_ok=True)
            shutil.copy(path, GENERATED / "pictures" / f"{path.parent.name}-{path.name}")
            return f"{image}[{words}](/_generated/pictures/{path.parent.name}-{path.name})"
        if path in pages:
            return f"[{words}](/_generated/{pages[path]}.md)"
        if path.is_relative_to(HERE) and path.is_file():
            return f"{image}[{words}](/{path.relative_to(HERE).as_posix()})"
        return words if words.startswith("`") else f"`{words}`"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", moved, text)


def command_reference() -> str:
    """What `icl COMMAND --help` says of every command."""
    from icl.commands.main import COMMANDS

    parts = [
        "# Commands",
        "",
        "As the parser says it; written when the site was built. Names take dashes or underscores. Exit codes: 0 for "
        "success, 1 for a run that failed (the reason goes to the standard error), 2 for wrong usage, 130 for ctrl-C.",
        "",
        *_help("icl"),
    ]
    for command in COMMANDS:
        parts += [f"## icl {command.__name__}", "", *_help(f"icl {command.__name__}")]
    return "\n".join(parts)


def _help(command: str) -> list[str]:
    from icl.commands.main import main

    os.environ["COLUMNS"] = "96"
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        main([*command.split()[1:], "--help"])
    return [f"```text\n{text.getvalue().rstrip()}\n```", ""]

"""What the documents promise: Python that runs, commands, files and addresses that exist, numbers that are counted."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from entered import journeys

ROOT = Path(__file__).parents[1]
PLACES = ("*.md", "docs/*.md", "docs/[a-z]*/*.md", "checkpoints/**/*.md", "benchmarks/*.md")
PAGES = sorted(page for place in PLACES for page in ROOT.glob(place))
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRANSCRIPTS = re.findall(r"^```\n\$ icl (.*?)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_front_door_is_short():
    """Lines in all, transcripts left out, and words before the first prediction."""
    before = README.split("$ icl predict")[0]
    assert len(before.split()) < 170
    assert len(re.sub(r"```.*?```", "", README, flags=re.DOTALL).splitlines()) < 100
    assert [command.split()[0] for command, _ in TRANSCRIPTS] == ["predict", "estimate"]


@pytest.mark.parametrize("target", re.findall(r"`make (\w+)`", README))
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_files_and_modules_exist(page):
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    files = re.findall(r"\b(?:icl|priors|tests|configs|examples|benchmarks)/[\w/]+\.(?:py|yaml|md)\b", text)
    assert [name for name in files if not (ROOT / name).exists()] == []
    modules = (
        set(re.findall(r"`(icl(?:\.[a-z_]+)+)`", text)) if page.name != "CHANGELOG.md" else set()
    )  # names that went
    assert [name for name in modules if not is_importable(name)] == []


def test_names_in_examples_exist_after_import_icl_alone():
    """In a process of its own: here, other tests have imported parts that a newcomer has not."""
    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"```python\n(.*?)```|`(icl\.[a-z_.]+)\(", page.read_text(encoding="utf-8"), re.DOTALL)
    ]
    text = "\n".join("\n".join(block) for block in blocks if "import icl." not in block[0])
    names = sorted(set(re.findall(r"(?<![\w./])icl((?:\.\w+)+)\(", text)))
    code = (  # names that load torch when they are taken are believed
        f"import icl\nfor name in {names!r}:\n"
        "    first, *inner = name[1:].split('.')\n"
        "    if first not in icl.__all__ and not all(hasattr(getattr(icl, first, None), n) for n in inner or ['x']):\n"
        "        print(name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("", "")
    assert ".inference.infer" in names and ".read_table" in names


def is_importable(name: str) -> bool:
    """Whether a dotted name is a module of ours, or something in one."""
    *parents, last = name.split(".")
    file = ROOT.joinpath(*parents, last)
    return file.with_suffix(".py").is_file() or file.is_dir() or hasattr(import_module(".".join(parents)), last)


def test_there_are_pages_with_links():
    assert len(PAGES) > 10 and "](" in README


def test_a_call_enters_as_many_files_as_the_architecture_page_says():
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    told = {call: int(n) for call, n in re.findall(r"^\| `(fit|predict|infer)` \| (\d+) \|$", page, re.MULTILINE)}
    found = {call: len(files) for call, files in journeys().items()}
    assert found == pytest.approx(told, abs=2), "see `python tests/entered.py`, and write its numbers into the page"

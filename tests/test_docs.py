"""The site documents every public name, its examples run, and no page is left out; without building it."""

import doctest
import re
import sys
import warnings
from pathlib import Path

import pytest

import icl
import icl.inference
import priors

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = sorted(page for page in (DOCS / "reference").glob("*.md") if page.stem != "index")
PUBLIC = [f"{module.__name__}.{name}" for module in (icl, icl.inference, priors) for name in module.__all__]
OPTIONS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


def test_every_public_name_is_documented_with_an_example():
    text = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE)
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    shown = {found[1] for part in sections if ">>> " in part and (found := re.search(r"auto\w+:: ([\w.]+)", part))}
    assert sorted(set(PUBLIC) - shown) == [] and sorted(shown - set(PUBLIC)) == []
    assert len(PUBLIC) > 60


@pytest.mark.parametrize("page", REFERENCE, ids=lambda page: page.stem)
def test_its_examples_run(page, tmp_path):
    names: dict = {"temporary": tmp_path}
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # examples of small tables are told that they are small
        for block in blocks:
            if ">>> " not in block:
                continue
            test = doctest.DocTestParser().get_doctest(block, names, page.stem, str(page), 0)
            runner.run(test, clear_globs=False)
            names.update(test.globs)
    assert runner.summarize(verbose=False).failed == 0


def test_every_page_is_in_a_table_of_contents():
    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md") if not hidden(page)}
    listed = {"index"}
    for name in pages:
        text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for entry in (line for line in tree.splitlines() if line and not line.startswith(":")):
                listed.add((DOCS / name).parent.joinpath(entry).resolve().relative_to(DOCS).as_posix())
    assert sorted(pages - listed) == []


def hidden(page: Path) -> bool:
    return any(part.startswith("_") for part in page.relative_to(DOCS).parts)


def test_pages_that_stand_elsewhere_exist_and_links_lead_to_them():
    sys.path.insert(0, str(DOCS))
    try:
        import site_pages
    finally:
        sys.path.remove(str(DOCS))
    copied = site_pages.copied()
    assert all(path.is_file() for path in copied) and len(set(copied.values())) == len(copied)
    reference = site_pages.command_reference()
    for command in ("predict", "estimate", "finetune", "checkpoints"):
        assert f"## icl {command}" in reference
    assert "--target" in reference and "/work" not in reference

"""What goes into the wheel, and that names and versions are said once."""

import os
import re
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import icl

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    backend = pytest.importorskip("hatchling.build")
    folder, here = tmp_path_factory.mktemp("wheel"), Path.cwd()
    os.chdir(ROOT)
    try:
        name = backend.build_wheel(str(folder))
    finally:
        os.chdir(here)
    with zipfile.ZipFile(folder / name) as file:
        sizes = {info.filename: info.file_size for info in file.infolist()}
        [metadata] = [text for text in sizes if text.endswith(".dist-info/METADATA")]
        yield sizes, Parser().parsestr(file.read(metadata).decode()), (folder / name).stat().st_size


def test_the_wheel_has_what_runs_and_nothing_else(wheel):
    sizes, _, n_bytes = wheel
    for needed in (
        "icl/py.typed",
        "icl/_checkpoints/base/model.safetensors",
        "icl/_checkpoints/base/reader.safetensors",
        "icl/_checkpoints/nano/config.json",
        "icl/pages/templates/page.html",
        "icl/commands/serve/page.html",
        "icl/commands/serve/page.js",
        "icl/commands/serve/page.css",
        "priors/__init__.py",
    ):
        assert needed in sizes, f"{needed} is missing"
    modules = {
        path.relative_to(ROOT).as_posix() for place in ("icl", "priors") for path in ROOT.glob(f"{place}/**/*.py")
    }
    assert modules - set(sizes) == set()
    others = {name for name in sizes if not name.startswith(("icl/", "priors/", "icl-"))}
    assert others == set() and not [name for name in sizes if name.endswith((".ckpt", ".csv", ".png", ".log", ".pyc"))]
    assert n_bytes < 8e6


def test_one_version_and_metadata_that_is_complete(wheel):
    _, metadata, _ = wheel
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert metadata["Version"] == icl.__version__ == cited[1]
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert metadata["Requires-Python"] and metadata["License-Expression"] == "Apache-2.0"


def test_addresses_are_files_of_the_repository_and_classifiers_exist():
    assert all((ROOT / place).is_file() for place in PROJECT["urls"].values())
    known = pytest.importorskip("trove_classifiers").classifiers
    assert set(PROJECT["classifiers"]) <= known


def test_what_make_installs_is_pinned():
    """Of the extras that tests and documents need; benchmarks install their peers as they find them."""
    pinned = {plain(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    wanted = [*PROJECT["dependencies"]]
    for extra in ("dev", "docs", "excel", "serve"):
        wanted += PROJECT["optional-dependencies"][extra]
    assert {plain(requirement) for requirement in wanted} - pinned == set()


def plain(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")

"""Imports point one way: priors -> models -> estimators -> commands, and the inference layer stands alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def own_imports(path: Path) -> set[str]:
    """Modules of ours that a file imports, anywhere in it, as dotted names."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from icl import model` may import a module as well as a name.
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] in ("icl", "priors")}


def violations(files, allowed: tuple[str, ...]) -> list[str]:
    def inside(name):
        # `icl` itself is the empty shell around `from icl import ...`; what is taken from it is judged by its name.
        return name == "icl" or any(name == a or name.startswith(a + ".") for a in allowed)

    return [f"{f.relative_to(ROOT)} imports {name}" for f in files for name in own_imports(f) if not inside(name)]


@pytest.mark.parametrize(
    ("where", "allowed"),
    [
        ("priors/**/*.py", ("priors",)),
        ("icl/inference/**/*.py", ("icl.inference",)),
        ("icl/distribution.py", ("icl.distribution",)),
        ("icl/kernels.py", ("icl.kernels",)),
        ("icl/model.py", ("icl.model", "icl.kernels", "icl.distribution")),
    ],
)
def test_lower_layers_import_nothing_above_them(where, allowed):
    files = sorted(ROOT.glob(where))
    assert files, f"nothing matches {where}"
    assert violations(files, allowed) == []


def test_a_violation_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    file = tmp_path / "icl" / "inference" / "bad.py"
    file.parent.mkdir(parents=True)
    file.write_text("from ..model import TabularConfig\n\ndef f():\n    from icl import ICLRegressor\n")
    assert len(violations([file], ("icl.inference",))) == 3  # icl.model, its TabularConfig, icl.ICLRegressor


def test_importing_icl_is_light():
    code = "import sys, icl, icl.inference; print(sorted({'torch', 'transformers', 'lightning'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_unknown_name_says_what_there_is():
    import icl

    with pytest.raises(AttributeError, match="ICLClassifier"):
        icl.ICLTransformer  # noqa: B018
    assert all(hasattr(icl, name) for name in icl.__all__)

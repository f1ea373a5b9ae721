"""`python -m priors`: what each subcommand writes, and what it says when it cannot."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from icl.training.exported_tasks import FolderSource
from priors import available_priors, make_prior
from priors.cli import build_prior, main
from priors.show import association, correlation
from priors.show_graph import depths

ROOT = Path(__file__).parents[2]


def test_list_names_every_prior(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in available_priors())
    row = next(line for line in text.splitlines() if line.split()[:1] == ["gp"])
    assert " yes " in row and "Rasmussen" in row


@pytest.mark.parametrize(
    "words",
    [
        ["scm", "--seed", "1", "--tasks", "2"],
        ["mixture", "--task", "regression", "--features", "14", "--options", '{"missing": 1.0}'],
        ["gp", "--features", "1", "--rows", "40"],
        ["linear", "--features", "1"],
        ["changepoint", "--features", "1", "--task", "classification"],
    ],
    ids=lambda words: " ".join(words),
)
def test_show_writes_a_picture(words, tmp_path, capsys):
    file = tmp_path / "tasks.png"
    assert main(["show", "--tasks", "1", *words, "--out", str(file)]) == 0, capsys.readouterr().err
    assert file.read_bytes().startswith(b"\x89PNG")
    assert str(file) in capsys.readouterr().out


def test_export_writes_a_folder_that_trains(tmp_path, capsys):
    folder = tmp_path / "tasks"
    words = ["export", str(folder), "--prior", "mixture", "--task", "regression", "--n", "20", "--seed", "5"]
    assert main([*words, "--shapes.n_cells", "400", "--shapes.rows", "[16, 32]"]) == 0, capsys.readouterr().err
    source = FolderSource(str(folder))
    assert source.n_tasks >= 20 and source.batches(0)[0].n_classes is None
    assert f"{source.n_tasks} tasks" in capsys.readouterr().out


def test_a_class_of_ones_own_has_a_dotted_name():
    assert build_prior("priors.LinearPrior", options={"noise_scale": 3.0}) == make_prior("linear", noise_scale=3.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "lineer"], "no prior 'lineer'"),
        (["show", "no.such.Prior"], "no class 'no.such.Prior'"),
        (["show", "linear", "--task", "classification"], "no option task"),
        (["show", "linear", "--options", '{"noise": 1}'], "unexpected keyword argument 'noise'"),
        (["realism"], "--tables FOLDER"),
    ],
)
def test_mistakes_are_explained(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    assert message in capsys.readouterr().err


def test_wrong_usage_and_help_have_their_exit_codes(capsys):
    assert main(["--help"]) == 0
    assert main(["show"]) == 2
    assert main(["draw"]) == 2


def test_importing_the_command_is_light():
    heavy = {"matplotlib", "datasets", "sklearn", "pandas", "rich", "jsonargparse", "pyarrow", "icl", "lightning"}
    code = (
        f"import sys, priors.cli, priors.show, priors.export, priors.realism; print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_correlation_is_numpy_s_where_nothing_is_missing(seeded):
    import numpy as np

    X = torch.randn(50, 4, generator=seeded(0)) @ torch.randn(4, 4, generator=seeded(1))
    assert np.allclose(correlation(X).numpy(), np.corrcoef(X.T.numpy()), atol=1e-6)
    holes = X.clone()
    holes[::3, 0] = torch.nan
    there = ~holes[:, 0].isnan()
    pair = np.corrcoef(X[there, 0].numpy(), X[there, 2].numpy())[0, 1]
    assert abs(float(correlation(holes)[0, 2]) - pair) < 1e-6


def test_the_feature_that_decides_is_the_leading_one(seeded):
    X = torch.randn(200, 5, generator=seeded(2))
    assert association(X, (X[:, 3] > 0.5).long() + (X[:, 3] < -0.5).long() * 2, True).argmax() == 3
    assert association(X, X[:, 1].exp(), False).argmax() == 1


def test_depth_is_the_longest_path_from_a_root():
    edges = torch.zeros(5, 5, dtype=torch.bool)
    for parent, child in [(0, 1), (1, 2), (0, 2), (2, 4)]:
        edges[parent, child] = True
    assert depths(edges) == [0, 1, 2, 0, 3]

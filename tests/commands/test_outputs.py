"""No command writes over what it reads, and none finds out at the end that it cannot write."""

import os

import pytest

from icl.commands.main import main
from icl.commands.outputs import check_folder, check_output
from icl.commands.parser import with_underscores

TABLE = "y,x\n" + "\n".join(f"{i if i % 2 else ''},{i * 1.5}" for i in range(40)) + "\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "other.csv").write_text(TABLE)
    os.link("t.csv", "hard.csv")
    os.symlink("t.csv", "soft.csv")
    os.symlink(".", "again")
    return tmp_path


SPELLINGS = ["t.csv", "./t.csv", "hard.csv", "soft.csv", "again/t.csv", "again/again/hard.csv"]


@pytest.mark.parametrize("output", SPELLINGS)
@pytest.mark.parametrize(
    "command",
    [
        ["estimate", "t.csv", "--predictor", "none", "--outcome", "y"],
        ["estimate", "other.csv", "--unlabeled", "t.csv", "--predictor", "none", "--outcome", "y"],
        ["predict", "t.csv", "other.csv", "--target", "y"],
        ["predict", "other.csv", "t.csv", "--target", "y"],
        ["compare", "nano", "nano", "--tables", "t.csv", "--target", "y"],
        ["compare", "nano", "nano", "--tables", ".", "--target", "y"],
        ["compare", "nano", "nano", "--general", "again"],
    ],
    ids=lambda command: " ".join(command[:4]),
)
def test_an_input_is_never_the_output(command, output, folder, capsys):
    assert main([*command, "--output", output]) == 1
    assert "is one of the input files" in capsys.readouterr().err
    assert (folder / "t.csv").read_text() == TABLE and (folder / "t.csv").samefile("hard.csv")


@pytest.mark.parametrize(
    ("output", "said"),
    [("no/o.csv", "there is no folder no"), ("again", "is a folder"), ("release/o.csv", "is a file of a release")],
)
def test_what_cannot_be_written_is_said_at_the_start(output, said, folder, capsys):
    (folder / "release").mkdir()
    for name in ("model.safetensors", "o.csv"):
        (folder / "release" / name).write_bytes(b"mine")
    for command in (["compare", "nano", "nano"], ["predict", "t.csv", "t.csv", "--target", "y"]):
        assert main([*command, "--output", output]) == 1
        assert said in capsys.readouterr().err
    assert (folder / "release" / "o.csv").read_bytes() == b"mine"


def test_other_files_may_be_written_over(folder):
    check_output("--output", "other.csv", ["t.csv", None, "nano", "-"])
    check_output("--output", "new.csv", ["t.csv", "."])


def test_folders_of_releases_are_no_place_for_reports(folder):
    (folder / "model.safetensors").touch()
    with pytest.raises(ValueError, match="the folder of a release"):
        check_folder("--out", folder)
    with pytest.raises(FileExistsError, match="is a file"):
        check_folder("--out", "t.csv")
    assert check_folder("--out", "new").is_dir()


def test_dashes_are_underscores():
    given = ["predict", "--no-check", "--only-predictions", "--output=a-b.csv", "--id", "a-b", "-x"]
    expected = ["predict", "--no_check", "--only_predictions", "--output=a-b.csv", "--id", "a-b", "-x"]
    assert with_underscores(given) == expected


def test_the_environment_changes_no_option(folder, monkeypatch, capsys):
    monkeypatch.setenv("JSONARGPARSE_DEFAULT_ENV", "true")
    monkeypatch.setenv("ICL_ESTIMATE__OUTPUT", "t.csv")
    monkeypatch.setenv("ICL_ESTIMATE__OUTCOME", "x")
    assert main(["estimate", "t.csv", "--predictor", "none", "--outcome", "y"]) == 0
    assert "mean of y" in capsys.readouterr().out and (folder / "t.csv").read_text() == TABLE


def test_a_deep_configuration_is_refused(folder, capsys):
    (folder / "deep.yaml").write_text("estimand: " + "[" * 5_000 + "]" * 5_000)
    assert main(["estimate", "--config", "deep.yaml", "t.csv"]) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err

"""No command writes over what it reads, and none finds out at the end that it cannot write."""

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from icl import read_table
from icl.commands.main import main
from icl.commands.outputs import check_ending, check_folder, check_output
from icl.commands.parser import with_underscores
from icl.tables.writer import TableWriter

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


@pytest.mark.parametrize("output", ["settings.json", "again/settings.json", "hard.json", "soft.json"])
def test_a_configuration_is_never_the_output(output, folder, capsys):
    """Neither where the command line names the output nor where the configuration does."""
    settings = '{"predictor": "none", "outcome": "y", "output": "%s"}'
    for content in (settings % "o.json", settings % output):
        (folder / "settings.json").write_text(content)
        os.link("settings.json", "hard.json")
        os.symlink("settings.json", "soft.json")
        given = [] if output in content else ["--output", output]
        assert main(["estimate", "--config", "settings.json", *given, "t.csv"]) == 1
        assert "is one of the input files" in capsys.readouterr().err
        assert (folder / "settings.json").read_text() == content
        os.unlink("hard.json")
        os.unlink("soft.json")
    (folder / "settings.json").write_text(settings % "o.json")
    assert main(["estimate", "--config", "settings.json", "t.csv"]) == 0 and (folder / "o.json").is_file()


def test_a_release_that_holds_an_input_is_not_replaced(folder, tiny_release, capsys):
    """The checkpoint to start from, the tables, the configuration."""
    shutil.copytree(tiny_release, "tuned")
    (folder / "tuned" / "tables").mkdir()
    (folder / "tuned" / "tables" / "t.csv").write_text(TABLE)
    (folder / "tuned" / "run.yaml").write_text("target: x\nsteps: 1\n")
    before = {path: path.read_bytes() for path in (folder / "tuned").rglob("*") if path.is_file()}
    for command in (
        ["t.csv", "--target", "x", "--checkpoint", "tuned"],
        ["tuned/tables", "--target", "x", "--checkpoint", str(tiny_release)],
        ["t.csv", "--config", "tuned/run.yaml", "--checkpoint", str(tiny_release)],
    ):
        assert main(["finetune", *command, "--out", "again/tuned"]) == 1
        assert "choose another folder" in (said := capsys.readouterr().err) or "name another folder" in said
    assert {path: path.read_bytes() for path in (folder / "tuned").rglob("*") if path.is_file()} == before


def test_a_dash_is_the_standard_output(folder, tiny_release, capsys):
    """...and holds nothing else: what is said goes to stderr."""
    model = ["--checkpoint", str(tiny_release), "--members", "1", "--no_check"]
    assert main(["predict", "t.csv", "t.csv", "--target", "y", *model, "--output", "-"]) == 0
    out = capsys.readouterr()
    assert main(["predict", "t.csv", "t.csv", "--target", "y", *model, "--output", "o.csv"]) == 0
    assert out.out == (folder / "o.csv").read_text() and "20 rows to -" in out.err
    capsys.readouterr()
    assert main(["estimate", "t.csv", "--predictor", "none", "--outcome", "y", "--output", "o.json,-"]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out) == json.loads((folder / "o.json").read_text()) and "wrote o.json" in out.err
    assert sorted(os.listdir()) == ["again", "hard.csv", "o.csv", "o.json", "other.csv", "soft.csv", "t.csv"]


def test_a_reader_that_goes_away_is_no_traceback():
    """`icl ... --output - | head -1`, with more rows than a pipe holds."""
    code = (
        "import sys; from icl.commands import main, parser; from icl.commands.outputs import write_output\n"
        "parser.run_command = lambda *_: [write_output('-', 'x,y\\n' * 5_000) for _ in range(1_000)]\n"
        "sys.exit(main.main())"
    )
    end, start = os.pipe()
    with subprocess.Popen([sys.executable, "-c", code], stdout=start, stderr=subprocess.PIPE) as process:
        os.close(start)
        first = os.read(end, 4)
        os.close(end)
        said = process.communicate(timeout=60)[1]
    assert (first, process.returncode, said) == (b"x,y\n", 141, b"")


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


ENDINGS = [f"{text}{packed}" for text in (".csv", ".tsv", ".txt") for packed in ("", ".gz", ".bz2", ".xz")]


@pytest.mark.parametrize("ending", [*ENDINGS, ".parquet", ".feather", ".arrow", ".xlsx"])
def test_every_ending_that_is_offered_is_written_and_read_back(ending, tmp_path):
    table = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    check_ending(str(tmp_path / f"t{ending}"))
    with TableWriter(tmp_path / f"t{ending}") as writer:
        writer.write(table)
    assert read_table(tmp_path / f"t{ending}").astype(str).equals(table.astype(str))


@pytest.mark.parametrize("ending", ["", ".json", ".zip", ".csv.zip", ".csv.zst", ".xls", ".parquet.gz"])
def test_an_ending_that_is_not_written_is_refused_with_those_that_are(ending, tmp_path):
    for refuse in (check_ending, TableWriter):
        with pytest.raises(
            ValueError, match=r"use \.csv, \.tsv, .*\.gz, \.bz2, \.xz\), \.parquet, \.feather, \.arrow or"
        ):
            refuse(str(tmp_path / f"t{ending}"))

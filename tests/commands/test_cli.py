"""The command: exit codes, messages a person understands, options that come from signatures."""

import dataclasses
import inspect
import re
import subprocess
import sys

import pytest

from icl import __version__
from icl.commands.estimate.request import Request as Question
from icl.commands.main import COMMANDS, main
from icl.commands.parser import SEVERAL
from icl.commands.predict.request import Request
from icl.commands.serve.limits import ServeOptions
from icl.finetuning.config import FinetuneConfig
from icl.tables.reading import Reading, read_names, read_words

# What a command takes as **options.
FIELDS = {
    "predict": Request,
    "estimate": Question,
    "finetune": FinetuneConfig,
    "compare": Reading,
    "generate": Reading,
    "audit": Reading,
    "impute": Reading,
    "inspect": Reading,
    "serve": ServeOptions,
}


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"icl {__version__}"


def test_help_loads_nothing_heavy():
    """One process for all: what a command loads is there after it, and named with it."""
    commands = ("demo", "checkpoints", "predict", "estimate", "finetune", "compare")
    code = f"""
import sys
from icl.commands.main import main
for args in [["--version"], ["--help"], *([command, "--help"] for command in {commands})]:
    code = main(args)
    heavy = sorted({{"torch", "transformers", "sklearn", "matplotlib", "pandas"}} & set(sys.modules))
    assert (code, heavy) == (0, []), (args, code, heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_runs_as_a_process_with_its_exit_code():
    done = subprocess.run(
        [sys.executable, "-m", "icl.commands.main", "demo", "--level", "2"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "level" in done.stderr and "Traceback" not in done.stderr


def test_python_runs_the_package_as_the_command():
    done = subprocess.run([sys.executable, "-m", "icl", "--version"], capture_output=True, text=True)
    assert done.stdout.strip() == f"icl {__version__}" and done.returncode == 0


@pytest.mark.parametrize(
    "args",
    [
        ["inspect", "t.csv", "--na", "age=999", "--na", "bmi=99"],
        ["inspect", "t.csv", "--columns=a=skip", "--columns", "b=skip"],
        ["generate", "t.csv", "--given", "sex=F", "--given=age=60..80"],
        ["predict", "t.csv", "t.csv", "--target", "y", "--quantiles", "0.1", "--quantiles", "0.9"],
        ["estimate", "t.csv", "--estimand", "mean: y", "--estimand", "mean: z"],
    ],
)
def test_an_option_given_twice_is_not_dropped_silently(args, capsys):
    assert main(args) == 2
    assert "is given 2 times" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "advice"),
    [
        (["estimate", "t.csv", "--estimand", "mean: y", "--estimand", "mean: z"], "one value"),
        (["predict", "t.csv", "t.csv", "--target=y", "--target=z"], "one value"),
        (["predict", "t.csv", "t.csv", "--output=a.csv", "--output=b.csv"], "one value"),
        (["estimate", "t.csv", "--output=a.csv", "--output=b.md"], "--output a.csv,b.md"),
        (["estimate", "t.csv", "--shift=label", "--shift=none"], "one value"),
        (["impute", "t.csv", "--shift=a=1", "--shift=b=2"], "--shift a=1,b=2"),
        (["generate", "t.csv", "--constraints", "a < b", "--constraints", "b < c"], "--constraints 'a < b; b < c'"),
        (["--target=y", "--target=z"], "icl: --target"),
    ],
)
def test_what_to_do_with_an_option_given_twice_would_work(args, advice, capsys):
    assert main(args) == 2
    assert advice in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        (["inspect", "t.csv", "--colums", "a=skip"], "--columns"),
        (["predict", "t.csv", "t.csv", "--target", "y", "--memebers=3"], "--members"),
        (["estimate", "t.csv", "--estimnd", "mean: y"], "--estimand"),
        (["generate", "t.csv", "--sed", "1"], "--seed"),
        (["serve", "--prt", "1"], "--port"),
    ],
)
def test_a_misspelled_option_is_asked_about(args, meant, capsys):
    assert main(args) == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_options_that_take_several_values_are_all_known():
    """By their words: a list is described as separated."""
    listed = set()
    for command in COMMANDS:
        done = " ".join(inspect.cleandoc(command.__doc__ or "").split())
        listed |= set(re.findall(r"(\w+): [^:]*?separated by", done))
        options = FIELDS.get(command.__name__)
        if options is not None:
            listed |= {field.name for field in dataclasses.fields(options) if "tuple" in str(field.type)}
    assert {f"--{name}" for name in listed} <= SEVERAL and len(listed) > 8


def test_the_last_of_two_numbers_counts(capsys):
    assert main(["inspect", "absent.csv", "--decimal", ".", "--decimal=,"]) == 1
    assert "absent.csv" in capsys.readouterr().err


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(command.__name__ in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_option_is_explained(command, capsys):
    assert main([command.__name__, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    signature = inspect.signature(command)
    for name, parameter in signature.parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD:
            assert (name if parameter.default is parameter.empty else f"--{name}") in shown
            assert f"{name}:" in command.__doc__, f"the docstring of {command.__name__} does not explain {name}"
    documented = re.compile(r'^    (\w+): .*\n    """([^"]+(?:"\w+"[^"]+)*)"""', re.M)
    for owner in FIELDS[command.__name__].__mro__[:-1] if "**" in str(signature) else ():
        for name, words in documented.findall(inspect.getsource(owner)):
            if name != "n_devices":  # --devices, which more processes than this one obey
                assert f"--{name}" in shown and " ".join(words.split())[:50] in shown.replace("- ", "-")


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ([], "subcommand"),
        (["dmeo"], "dmeo"),
        (["demo", "--level", "95"], "level"),
        (["demo", "--level", "nan"], "level"),
        (["demo", "--seed", "-1"], "seed"),
        (["demo", "--seed", "one"], "seed"),
        (["demo", "--colour", "red"], "colour"),
        (["demo", "--out"], "--out"),
        (["predict", "a.csv", "b.csv", "--interval", "90"], "--interval takes a fraction between 0 and 1"),
        (["predict", "a.csv", "b.csv", "--members", "0"], "--members takes a whole number of at least 1; got 0"),
        (["predict", "a.csv", "b.csv", "--dates", "ymdd"], "--dates"),
    ],
)
def test_wrong_usage_exits_2_and_names_the_culprit(args, named, capsys):
    assert main(args) == 2
    shown = capsys.readouterr()
    assert named in shown.err and shown.out == ""


ASK = "estimate t.csv --outcome y"
IDLE = {  # what does nothing beside what
    "estimate t.csv --estimand mean:y": ["--bound 0.02", "--bound 0.1"],
    f"{ASK} --predictor rf": ["--checkpoint nano", "--quality fast", "--members 2", "--device cpu"],
    f"{ASK} --predictor none": ["--companions none", "--time_budget 3", "--weight 1", "--features x"],
    f"{ASK} --predictions f": ["--predictor rf", "--features x", "--max_rows 9", "--memory_gb 1"],
    f"{ASK} --missing patterns": ["--predictor rf", "--weight 0.5", "--checkpoint nano"],
    "predict t.csv t.csv --target y": ["--workers 2", "--gpus 1"],
    "finetune . --target y": ["--n_blocks 1", "--lora_rank 2"],
    "finetune . --held_out t.csv": ["--validation_share 0.5"],
    "compare nano nano": ["--target y", "--task regression", "--ignore x"],
    "impute t.csv": ["--level 0.9"],
    "generate t.csv --model quick": ["--checkpoint nano"],
}


@pytest.mark.parametrize(("command", "option"), [(c, option) for c, options in IDLE.items() for option in options])
def test_an_option_that_would_do_nothing_is_refused(command, option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [f"{i},{i % 3},{'' if i % 4 else i * 2}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["x,f,y", *rows]) + "\n")
    assert main([*command.split(), *option.split()]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(rf"-*{option.split()[0].strip('-')}\b.*leave (it|them|weight=|--features) out", said), said


def table_with_commas(folder):
    rows = [f"{i % 7},{i % 3}.5,{'' if i % 2 else i % 7 + i % 3},{i % 5 or ''}" for i in range(60)]
    (folder / "t.csv").write_text("\n".join(['"price, net",f,y,"a,b"', *rows]) + "\n")


@pytest.mark.parametrize("names", ["price, net,f", '"price, net",f', "f,price,net", '"price, net"'])
def test_names_of_columns_may_hold_commas(names, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table_with_commas(tmp_path)
    assert main([*ASK.split(), "--predictions", names]) == 0
    assert "price, net" in " ".join(capsys.readouterr().out.split())
    assert set(read_names(read_words(names), ["f", "price, net", "net"])) <= {"f", "price, net"}


def test_names_may_hold_commas_wherever_there_are_several(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table_with_commas(tmp_path)
    assert main(["impute", "t.csv", "--m", "2", "--budget", "1", "--keep", "y,a,b", "--shift", '"a,b"=0.5']) == 0
    given = '"price, net"=3,f=0.5..1'
    assert main(["generate", "t.csv", "--rows", "3", "--model", "quick", "--given", given, "--output", "o.csv"]) == 0
    assert [line.split(",")[0] for line in (tmp_path / "o.csv").read_text().splitlines()[1:]] == ["3"] * 3
    assert read_words('a "b", c "d", "e, f"=2') == ('a "b"', 'c "d"', "e, f=2")


def test_a_flag_needs_no_value(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "icl.commands.demo.run.run_demo", lambda out, checkpoint, seed, level, quick, console: seen.update(q=quick)
    )
    assert main(["demo", "--quick"]) == 0 and seen == {"q": True}
    assert main(["demo"]) == 0 and seen == {"q": False}


@pytest.mark.parametrize("error", [ValueError("age is not a number"), FileNotFoundError("no file t.csv")])
def test_a_failed_run_exits_1_without_a_traceback(error, monkeypatch, capsys):
    def fail(*args):
        raise error

    monkeypatch.setattr("icl.commands.demo.run.run_demo", fail)
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == f"icl: {error}\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    def fail(*args):
        raise KeyError("ours")

    monkeypatch.setattr("icl.commands.demo.run.run_demo", fail)
    with pytest.raises(KeyError):
        main(["demo"])


def test_interrupt_exits_130_in_one_line(monkeypatch, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("icl.commands.demo.run.run_demo", interrupt)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_unknown_checkpoint_is_named(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "out"), "--checkpoint", "no-such-model"]) == 1
    assert "no-such-model" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_folder_is_refused_and_kept(tmp_path, capsys):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    assert main(["demo", "--out", str(file)]) == 1
    assert "notes.txt" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_checkpoints_shows_provenance(tiny_release, monkeypatch, capsys):
    monkeypatch.setattr("icl.releases.names.shipped_folder", lambda: tiny_release.parent)
    assert main(["checkpoints"]) == 0
    shown = capsys.readouterr().out
    [line] = [line for line in shown.splitlines() if line.split()[:1] == [tiny_release.name]]
    assert "MB" in line and "—" in line  # a fact that is not known is a dash, not an error


def test_tasks_and_hours_are_those_of_the_documentation(pytestconfig, capsys):
    assert main(["checkpoints"]) == 0
    shown = capsys.readouterr().out
    page = (pytestconfig.rootpath / "docs" / "results.md").read_text(encoding="utf-8")
    for name in ("base", "nano"):
        [line] = [line for line in shown.splitlines() if line.split()[:1] == [name]]
        assert line.split()[5] in page  # after name, size with its unit, fast, parameters


def test_no_checkpoints_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("icl.releases.names.shipped_folder", lambda: tmp_path)
    assert main(["checkpoints"]) == 1
    assert "ships no checkpoint" in capsys.readouterr().err

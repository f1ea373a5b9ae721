"""What a newcomer mistypes is answered with the name that was meant and the words that the option takes."""

import typing

import pandas as pd
import pytest

from icl.commands.estimate.request import Request as Estimate
from icl.commands.main import COMMANDS, main
from icl.commands.predict.request import Request as Predict
from icl.commands.preview import cells_of
from icl.commands.serve.limits import ServeOptions
from icl.finetuning.config import FinetuneConfig
from icl.tables.encoder import TableEncoder


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["predict"], ["icl predict: name the files: train, test"]),
        (["predict", "a.csv"], ["icl predict: name the files: test"]),
        (["predct"], ["no command 'predct'", "did you mean 'predict'?", "inspect"]),
        (["inspect", "a.csv", "--dates", "12"], ["--dates takes one of auto, dmy, mdy, ymd; got 12."]),
        (
            ["predict", "a", "b", "--interval", "90"],
            ["--interval takes a fraction between 0 and 1, such as 0.9; got 90."],
        ),
    ],
)
def test_wrong_usage_is_one_sentence(typed, said, capsys):
    assert main(typed) == 2
    found = capsys.readouterr().err
    assert all(words in found for words in said) and found.count("\n") == 2


def numeric_options(of):
    """Names of the options of a command or dataclass that take a number, or a number or a word."""
    for name, kind in typing.get_type_hints(of).items():
        if name != "return" and {int, float} & {b for k in (kind, *typing.get_args(kind)) for b in bases(k)}:
            yield name


def bases(kind):
    return kind.__mro__ if isinstance(kind, type) and kind is not bool else ()


def hidden(command):
    """The dataclass that a command's `**options` are passed to."""
    return {"predict": Predict, "estimate": Estimate, "serve": ServeOptions, "finetune": FinetuneConfig}.get(command)


NUMERIC = [
    (command.__name__, name)
    for command in COMMANDS
    for of in (command, hidden(command.__name__))
    if of is not None
    for name in numeric_options(of)
]


@pytest.mark.parametrize(("command", "option"), NUMERIC)
@pytest.mark.parametrize("given", ["x", "-3", "0x1"])
def test_a_number_that_is_none_is_told_in_words(command, option, given, capsys):
    """No class of the parser's is named."""
    code = main([command, "a.csv", f"--{option}={given}"])
    said = capsys.readouterr().err
    assert code != 0 and not any(word in said for word in ("jsonargparse", "Union", "type", "class ", "literal"))
    if code == 2 and "name the files" not in said:
        assert f"--{option}" in said and given in said, said


def test_help_speaks_of_no_types(capsys):
    assert main(["predict", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "type:" not in shown and "| null" not in shown and "(default: auto)" in " ".join(shown.split())


def test_inspect_shows_what_is_read_and_says_no_more(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("Bericht\nPreis;Tag\n1.234,50 €;17.02.2023\n-;18.02.2023\n", encoding="utf-8")
    assert main(["inspect", str(tmp_path / "t.csv")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 rows, 2 columns; text in utf-8, semicolons between cells" in shown
    assert "Preis number numbers with decimal comma, in EUR; 1 missing 1234.5" in shown
    assert "Tag date dates, day, month, year 2023-02-17" in shown and "the first line is a title" in shown
    assert main(["inspect", str(tmp_path / "t.csv"), "--columns", "Tag=number"]) == 1
    assert "--columns Tag=number" in capsys.readouterr().err


@pytest.fixture
def table(tmp_path):
    rows = "".join(
        f"{i % 7},{i % 5},{i % 2 if i < 40 else ''},{('yes', 'no')[i % 2] if i < 40 else ''}\n" for i in range(60)
    )
    path = tmp_path / "t.csv"
    path.write_text("cost,plan €,risk,kind\n" + rows, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("estimand", "said"),
    [
        ("mean: Risc", ["the rows of the table have no column 'Risc'", "(did you mean 'risk'?)", "cost, plan €, risk"]),
        ("logistic: kind ~ cost", ["not numbers", "or say which value counts as 1", "--event on the command line"]),
        ("ols: risk ~ (cost > 3)", ["cannot be read", "A comparison stands in I(...), as in I(age > 30)"]),
        ("ols: risk ~ cost == 3", ["A comparison stands in I(...)"]),
        ("ols: risk ~ plan €", ["cannot be read", "stands in backticks, as in `cost (EUR)`"]),
    ],
)
def test_estimands_are_answered_in_the_words_of_the_command(table, estimand, said, capsys):
    assert main(["estimate", table, "--estimand", estimand, "--predictor", "rf"]) == 1
    found = " ".join(capsys.readouterr().err.split())
    assert all(words in found for words in said) and "table=" not in found


def test_a_weight_that_is_no_number_is_not_shown(table, capsys):
    command = ["estimate", table, "--estimand", "mean: risk", "--predictor", "rf", "--weight", "recalibrated"]
    assert main(command) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "method recalibrated" in shown and "nan" not in shown
    assert "predictions RandomForest" in shown and "Pipeline" not in shown


def test_columns_that_differ_are_named_once():
    X = pd.DataFrame({"age": [1.0, 2, 3], "dose": [3.0, 1, 2]})
    encoder = TableEncoder().fit(X)
    with pytest.raises(ValueError, match=r"at fit: missing 'age'\. Pass the same 2"):
        encoder.transform(X[["dose"]])
    with pytest.raises(ValueError, match=r"at fit: not seen at fit 'more'\. Pass the same 2"):
        encoder.transform(X.assign(more=1.0))


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        (pd.to_datetime(["2022-01-31", None]), ["2022-01-31", ""]),
        (pd.to_datetime(["2022-01-31 10:05", None]), ["2022-01-31 10:05:00", ""]),
        (["a", None], ["a", ""]),
        ([1.5, float("nan")], ["1.500", ""]),
        ([12.25, 0.001], ["12.25", "0.00"]),
        ([1e9, 2e-9], ["1e+09", "2e-09"]),
        ([float("nan")] * 2, ["", ""]),
        ([1, 2], ["1", "2"]),
    ],
)
def test_cells_of_a_preview_are_as_people_write_them(column, shown):
    assert cells_of(pd.Series(column)) == shown

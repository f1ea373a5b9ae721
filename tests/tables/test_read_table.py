"""Files as people have them are read as they meant them; what is ambiguous or damaged is said, in a sentence."""

import bz2
import gzip
import io
import lzma
import shlex
import zipfile
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import icl
from icl.tables import source
from icl.tables.dates import AmbiguousDatesError, Dates, look_for_dates
from icl.tables.files import open_table
from icl.tables.reader import read_file, read_table
from icl.tables.reading import Reading
from icl.tables.taken import decide, first_look

GERMAN = (
    "name;betrag;anteil;datum;plz;zahl\n"
    "Müller;38.361,86 EUR;19,4 %;17.02.2023;04109;38.361\n"
    "Meier;1.200,00 EUR;20 %;03.04.2022;10115;1.000\n"
)
AMERICAN = 'income,share,day,x,z\n"$38,361.86",19.4%,02/17/2023,?,1\n"($1,200.00)",20%,03/04/2023,3,-\n'


def read(text: str, **options) -> pd.DataFrame:
    return read_table(text.encode(), **options)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_german_export(encoding):
    table = read_table(GERMAN.encode(encoding))
    assert table["name"].tolist() == ["Müller", "Meier"] and table["plz"].tolist() == ["04109", "10115"]
    assert table["betrag"].tolist() == [38361.86, 1200.0] and table["anteil"].tolist() == [19.4, 20.0]
    assert table["zahl"].tolist() == [38361, 1000]
    assert table["datum"].tolist() == [pd.Timestamp(2023, 2, 17), pd.Timestamp(2022, 4, 3)]


def test_an_american_export():
    table = read(AMERICAN)
    assert table["income"].tolist() == [38361.86, -1200.0] and table["share"].tolist() == [19.4, 20.0]
    assert table["day"].tolist() == [pd.Timestamp(2023, 2, 17), pd.Timestamp(2023, 3, 4)]
    np.testing.assert_array_equal(table["x"], [np.nan, 3])
    np.testing.assert_array_equal(table["z"], [1, np.nan])


@pytest.mark.parametrize("encoding", ["cp1251", "cp932"])
def test_other_scripts(encoding):
    words = {"cp1251": "Москва и другие города России", "cp932": "東京都の人口は多いです"}[encoding]
    text = f"{words},y\n{words},1\n{words}а,2\n" if encoding == "cp1251" else f"{words},y\n{words},1\n"
    assert read_table(text.encode(encoding)).columns[0] == words
    assert read_table(text.encode(encoding), encoding=encoding).columns[0] == words


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1,5", "2,25"], [1.5, 2.25]),
        (["1,234", "12,345,678"], [1234, 12345678]),
        (["1.234.567", "1"], [1234567, 1]),
        (["1 234,5", "12\u202f345,6"], [1234.5, 12345.6]),
        (["1'234.5", "7"], [1234.5, 7]),
        (["€5", "-€7.50"], [5, -7.5]),
        (["CHF 1'000", "CHF 2"], [1000, 2]),
        (["(3.5)", "4"], [-3.5, 4]),
        (["\u22123", "4"], [-3, 4]),
        (["5 %", "7.5%"], [5, 7.5]),
        (["1e5", "10"], [1e5, 10]),
        (["?", "3"], [np.nan, 3]),
        (["n/a", "3", "-", "—", "."], [np.nan, 3, np.nan, np.nan, np.nan]),
    ],
)
def test_numbers_in_text(cells, expected):
    frame = pd.DataFrame({"x": cells, "k": "a"})
    file = io.BytesIO()
    frame.to_parquet(file)
    np.testing.assert_array_equal(read_table(file.getvalue())["x"].astype(float), expected)


@pytest.mark.parametrize(
    "cells",
    [
        ["1.5", "2,5"],  # both marks
        ["5%", "0.05"],
        ["007", "12"],
        ["1.2.10", "1.3.4"],
        ["1-2", "3"],
        ["10 a", "3"],
        ["1,23", "1,234,5"],
        ["31.02.2023 x", "1"],
        ["12:30", "13:15"],
        ["a", "?"],
    ],
)
def test_text_that_stays(cells):
    file = io.BytesIO()
    pd.DataFrame({"x": cells, "k": "a"}).to_parquet(file)
    assert read_table(file.getvalue())["x"].tolist() == cells


@pytest.mark.parametrize(
    ("cells", "iso"),
    [
        (["2024-01-31", "2024-02-01"], ["2024-01-31", "2024-02-01"]),
        (["2024/1/31", "2024/2/1"], ["2024-01-31", "2024-02-01"]),
        (["31/01/2024", "01/02/2024"], ["2024-01-31", "2024-02-01"]),
        (["01/31/2024", "02/01/2024"], ["2024-01-31", "2024-02-01"]),
        (["31-1-2024", "1-2-2024"], ["2024-01-31", "2024-02-01"]),
        (["01.02.2024", "03.04.2024"], ["2024-02-01", "2024-04-03"]),
        (["31.01.24", "01.02.99"], ["2024-01-31", "1999-02-01"]),
        (["17 Feb 2023", "3 March 2022"], ["2023-02-17", "2022-03-03"]),
        (["Feb 17, 2023", "March 3, 2022"], ["2023-02-17", "2022-03-03"]),
        (["31/01/2024 13:05", "01/02/2024 1:05 PM"], ["2024-01-31 13:05", "2024-02-01 13:05"]),
        (["2024-01-31T10:00:00Z", "2024-02-01T10:00:00+02:00"], ["2024-01-31 10:00Z", "2024-02-01 08:00Z"]),
        (["5/5/2024", "6/6/2024"], ["2024-05-05", "2024-06-06"]),  # the same in both orders
    ],
)
def test_dates_in_text(cells, iso):
    file = io.BytesIO()
    pd.DataFrame({"x": [*cells, ""], "k": "a"}).to_parquet(file)
    assert read_table(file.getvalue())["x"].tolist()[:2] == [pd.Timestamp(day) for day in iso]


def test_ambiguous_dates_are_asked_about_and_another_column_answers():
    text = "d,y\n03/04/2024,1\n05/06/2024,2\n"
    with pytest.raises(ValueError, match="--dates dmy or --dates mdy"):
        read(text)
    assert read(text, dates="dmy")["d"][0] == pd.Timestamp(2024, 4, 3)
    assert read(text, dates="mdy")["d"][0] == pd.Timestamp(2024, 3, 4)
    both = read("d,e\n03/04/2024,28/02/2024\n05/06/2024,01/02/2024\n")
    assert both["d"][0] == pd.Timestamp(2024, 4, 3)


MOMENTS = pd.date_range("2023-01-01", periods=80, freq="131h")


@pytest.mark.parametrize(
    "ways",
    [
        ["%d/%m/%Y", "%d-%m-%Y"],
        ["%m/%d/%Y", "%m-%d-%Y"],
        ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"],
        ["%d.%m.%Y", "%d/%m/%y"],
        ["%d/%m/%Y %H:%M", "%d-%m-%Y"],
        ["%d/%m/%Y"] * 39 + ["%d-%m-%Y"],  # few enough to count as no dates
    ],
)
def test_dates_of_one_column_may_differ_in_their_marks(ways):
    texts = pd.Series([moment.strftime(ways[i % len(ways)]) for i, moment in enumerate(MOMENTS)])
    dates, odd = look_for_dates(texts.value_counts().to_dict(), "when")
    assert odd == ()
    assert dates.read(texts)[0].dt.normalize().tolist() == MOMENTS.normalize().tolist()


def test_points_beside_months_first_are_asked_about_unless_they_show_it():
    mixed = ["03.04.2024", "05/26/2024", "07-28-2024"] * 4
    with pytest.raises(AmbiguousDatesError, match=r"03\.04\.2024"):
        look_for_dates(dict.fromkeys(mixed, 4), "when")
    assert look_for_dates(dict.fromkeys(mixed, 4), "when", "mdy")[0].order == "mdy"
    assert look_for_dates(dict.fromkeys([*mixed, "03.25.2024"], 4), "when")[0].order == "mdy"


def test_dates_that_differ_in_marks_and_orders_are_none_or_asked_about():
    both = [moment.strftime(["%d/%m/%Y", "%m-%d-%Y"][i % 2]) for i, moment in enumerate(MOMENTS)]
    assert look_for_dates(dict.fromkeys(both, 1), "when")[0] is None
    with pytest.raises(AmbiguousDatesError, match="day/month or month/day"):
        look_for_dates(dict.fromkeys(["01/02/2024", "03-04-2024", "05/06/2024", "07-08-2024"], 1), "when")
    assert look_for_dates(dict.fromkeys(["5-10/20", "3-4/11", "1-2/15"], 1), "when")[0] is None  # two marks in a cell


@pytest.mark.parametrize("way", ["%d.%m.%Y %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S%z", "%m/%d/%Y %I:%M %p", "%d %B %Y"])
def test_dates_are_those_of_the_standard_library(way):
    rng = np.random.default_rng(0)
    moments = [datetime(1, 1, 1) + timedelta(days=int(d), seconds=int(s)) for d, s in rng.integers(0, 86_400, (200, 2))]
    moments += [datetime(year, 12, 31, 23, 59, 59, 123456) for year in (1000, 1677, 1970, 2262, 9999)]
    hours = rng.integers(-12, 13, len(moments))
    zoned = [
        m.replace(year=max(m.year, 1000), tzinfo=timezone(timedelta(hours=int(h)))) for m, h in zip(moments, hours)
    ]
    texts = pd.Series([moment.strftime(way) for moment in zoned])
    dates, odd = look_for_dates(dict.fromkeys(texts, 1), "when", "mdy" if way[1] == "m" else "auto")
    wanted = [datetime.strptime(text, way) for text in texts]
    wanted = [m.astimezone(UTC).replace(tzinfo=None) if m.tzinfo else m for m in wanted]
    read = dates.read(texts)[0]
    assert odd == ()
    assert (read.dt.tz_localize(None).to_numpy() == np.array(wanted, "datetime64[us]")).all()


def test_days_and_times_that_do_not_exist_are_none():
    texts = pd.Series(["29.02.2023", "31.04.2024", "00.01.2024", "01.13.2024", "01.01.2024 24:00", "01.01.2024 10:60"])
    there = pd.Series(["29.02.2024", "30.04.2024", "", "01.12.2024 23:59:59,999999999"])
    values, wrong = Dates("dmy", r"xxy\.").read(pd.concat([texts, there], ignore_index=True))
    assert values.isna().tolist() == [True] * 6 + [False, False, True, False]
    assert wrong.tolist() == [True] * 6 + [False] * 4


def test_na_is_a_level_where_gaps_are_empty_and_can_be_said():
    assert read("a,b\nNA,1\n,2\nEU,3\n")["a"].tolist()[0] == "NA"
    assert read("a,b\nNA,1\nEU,3\n")["a"].isna().tolist() == [True, False]
    assert read("a,b\nNA,1\nEU,3\n", na="none")["a"].tolist() == ["NA", "EU"]
    np.testing.assert_array_equal(read("a,b\n-99,1\n5,3\n", na="-99,.")["a"], [np.nan, 5])
    np.testing.assert_array_equal(read("a,b\nNA,1\n,2\n7,3\n")["a"], [np.nan, np.nan, 7])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators(separator):
    rows = [["name", "x"], ['"a, b; c"', "1"], ["d", "2"]]
    table = read("\n".join(separator.join(row) for row in rows) + "\n")
    assert table["name"].tolist() == ["a, b; c", "d"] and table["x"].tolist() == [1, 2]


def test_excel_says_its_separator():
    assert read("sep=;\na;b\n1,5;2\n2,5;3\n")["a"].tolist() == [1.5, 2.5]


def test_plain_files_are_read_as_pandas_reads_them(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=50), "n": rng.integers(0, 9, 50), "k": rng.choice(["u", "v"], 50)})
    frame.loc[3, "a"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), pd.read_csv(tmp_path / "t.csv"))


def test_wide_headers(tmp_path):
    names = [f"gene_{i:0100d}" for i in range(1_500)]  # the reader of Python takes 131,072 characters of a cell
    pd.DataFrame([range(1_500)] * 2, columns=names).to_csv(tmp_path / "t.csv", index=False)
    assert read_table(tmp_path / "t.csv").shape == (2, 1_500)


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zip"])
def test_compressed_files_whole_cut_and_inflated(ending, tmp_path, monkeypatch):
    path = tmp_path / f"t.csv{ending}"
    text = b"a,b\n" + b"".join(f"{i},{i * i}\n".encode() for i in range(3_000))

    def write(data: bytes) -> bytes:
        if ending == ".zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("t.csv", data)
        else:
            path.write_bytes({".gz": gzip, ".bz2": bz2, ".xz": lzma}[ending].compress(data))
        return path.read_bytes()

    whole = write(text)
    assert read_table(path)["b"].sum() == sum(i * i for i in range(3_000))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"t\.csv.* cannot be read"):
        read_table(path)
    monkeypatch.setattr(source, "_LARGEST_UNPACKED", 1 << 20)
    write(b"a,b\n" + b"0" * (8 << 20))
    with pytest.raises(ValueError, match="unpacks to more than"):
        read_table(path)


def test_excel_sheets_and_codes(tmp_path):
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        pd.DataFrame({"plz": ["04109", "10115"], "day": ["03.04.2023", "17.02.2023"], "x": [1, 2]}).to_excel(
            book, sheet_name="data", index=False
        )
        pd.DataFrame({"note": ["made by hand"]}).to_excel(book, sheet_name="notes", index=False)
        pd.DataFrame().to_excel(book, sheet_name="empty", index=False)
    with pytest.raises(ValueError, match=r"2 sheets with cells; say which with --sheet: data, notes"):
        read_table(tmp_path / "t.xlsx")
    for sheet in ("data", "1"):
        table = read_table(tmp_path / "t.xlsx", sheet=sheet)
        assert table["plz"].tolist() == ["04109", "10115"] and table["x"].tolist() == [1, 2]
        assert table["day"][0] == pd.Timestamp(2023, 4, 3)
    with pytest.raises(ValueError, match="did you mean 'data'"):
        read_table(tmp_path / "t.xlsx", sheet="dada")


@pytest.mark.parametrize("word", ["n/a", "unknown", "?", "-", " ", "k.A.", "#N/A"])
def test_words_for_missing_beside_typed_cells_do_not_make_levels_of_them(word, tmp_path):
    """As in a CSV: numbers stay numbers, dates dates, answers answers."""
    days = [datetime(2024, 1, 1 + i) for i in range(20)]
    cells = {
        "share": [i / 7 for i in range(20)],
        "count": list(range(20)),
        "flag": [0, 1] * 10,
        "day": days,
        "moment": [day + timedelta(hours=1.5) for day in days],
        "answer": [True, False] * 10,
    }
    frame = pd.DataFrame({name: pd.Series([*column, word, word], dtype=object) for name, column in cells.items()})
    frame.assign(row="full").to_excel(tmp_path / "t.xlsx", index=False)
    read = read_file(open_table(tmp_path / "t.xlsx"))
    kinds = {taken.name: taken.kind for taken in read.columns if taken.name != "row"}
    assert kinds == dict.fromkeys(["share", "count", "flag"], "number") | {
        "day": "date", "moment": "date", "answer": "yes/no",
    }  # fmt: skip
    assert read.frame.isna().sum().tolist() == [2] * 6 + [0]
    assert read.frame["moment"][0] == pd.Timestamp(cells["moment"][0])
    assert read.frame.dtypes[["share", "count", "flag"]].eq("float64").all()


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([*range(30), "broken"], "number"),  # one mistake, as in a CSV
        ([datetime(2024, 1, 1 + i) for i in range(30)] + ["broken"], "date"),
        ([*range(9), "low"], "category"),  # too few to tell a mistake
        ([*range(30), *["< 5"] * 8], "category"),
        ([10115, 80331, "04109"] * 10, "category"),  # codes
        ([datetime(2024, 1, 1), "late"] * 10, "category"),
        ([datetime(2024, 1, 1).time()] * 10, "category"),
        ([True, 2, 3] * 10, "category"),
    ],
)
def test_words_beside_typed_cells_are_levels_unless_they_are_few(cells, kind):
    column = pd.Series(cells, dtype=object, name="v")
    taken = first_look(column)
    decide(taken, column, ".", "auto")
    assert taken.kind == kind and taken.odd == (("broken",) if "broken" in cells else ())
    assert taken.values.isna().sum() == ("broken" in cells)


def test_hints_can_be_pasted_into_a_shell():
    rows = "".join(f"{i},{999 if i < 3 else i}\n" for i in range(40))
    [note] = read_file(open_table(b"x,LOS (days)\n" + rows.encode())).notes
    words = shlex.split(note[note.index("--na") :])
    read = read_file(open_table(b"x,LOS (days)\n" + rows.encode(), Reading(na=words[1])))
    assert read.frame["LOS (days)"].isna().sum() == 3 and read.notes == []


@pytest.mark.parametrize("given", [pd.DataFrame({"a": [1]}), {"a": [1]}, [1, 2], None, 5])
@pytest.mark.parametrize("read", [icl.read_table, icl.inspect_table])
def test_what_is_no_file_is_refused_with_what_to_do(read, given):
    with pytest.raises(TypeError, match=f"is expected, got {type(given).__name__}; .* as it is"):
        read(given)


def test_a_file_opened_as_text_is_read():
    assert read_table(io.StringIO("ä;b\n1,5;x\n2,5;y\n"))["ä"].tolist() == [1.5, 2.5]


def test_parquet_of_other_programs(tmp_path):
    twice = pa.Table.from_arrays([pa.array([1, 2]), pa.array([3, 4])], names=["a", "a"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match=r"twice\.parquet.*several columns called 'a'"):
        read_table(tmp_path / "twice.parquet")
    for metadata in (b"{", b'{"index_columns": 3}', b'{"index_columns": ["no"], "columns": [], "column_indexes": []}'):
        odd = pa.table({"a": [1, 2]}).replace_schema_metadata({b"pandas": metadata})
        pq.write_table(odd, tmp_path / "odd.parquet")
        assert read_table(tmp_path / "odd.parquet")["a"].tolist() == [1, 2]


def test_a_second_file_is_read_as_the_first(tmp_path):
    (tmp_path / "one.csv").write_text("a;plz;x\n1,5;04109;1\n2,5;10115;2\n")
    (tmp_path / "two.csv").write_text("a;plz;x\n3.000;10115;7\n-;12345;8\n")
    one = read_file(open_table(tmp_path / "one.csv"))
    [part] = one.chunks_of(open_table(tmp_path / "two.csv"), None, ["a", "plz", "x"])
    np.testing.assert_array_equal(part["a"], [3000, np.nan])
    assert part["plz"].tolist() == ["10115", "12345"]
    parts = list(one.chunks_of(open_table(tmp_path / "two.csv"), 1, ["a"]))
    assert [len(p) for p in parts] == [1, 1] and parts[0]["a"].tolist() == [3000]
    (tmp_path / "two.csv").write_text("a;plz;x\nmany;10115;7\n")
    with pytest.raises(ValueError, match=r"column 'a' of .*two\.csv holds 'many' \(1 such cells\)"):
        next(one.chunks_of(open_table(tmp_path / "two.csv"), None, ["a"]))


def test_the_reader_is_public_and_takes_buffers():
    assert icl.read_table(io.BytesIO(b"a,b\n1,2\n"))["b"].tolist() == [2]
    with pytest.raises(ValueError, match="the file is empty"):
        icl.read_table(b"")


@pytest.mark.parametrize("options", [{"dates": "dym"}, {"decimal": ";"}, {"encoding": "latin-77"}])
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=f"--{next(iter(options))}"):
        Reading(**options)


@pytest.mark.parametrize("column", [1, 2])  # in the last one Arrow sees nothing odd
def test_a_quote_that_is_never_closed_swallows_no_rows(column):
    rows = [["a", "b", "c"], *([str(i), f"b{i}", f"c{i}"] for i in range(100))]
    whole = "".join(",".join(row) + "\n" for row in rows)
    rows[8][column] = '"' + rows[8][column]
    with pytest.raises(ValueError, match="line 9 opens a quote that is not closed, so that the 92 lines below"):
        read("".join(",".join(row) + "\n" for row in rows))
    for last in ('100,b,"c\n""d"\n', '100,b,"c\n'):  # closed; and nothing below that could be lost
        assert len(read(whole + last)) == 101

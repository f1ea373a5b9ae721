"""Makes the ugly files of this folder, and beside each, in JSON, what should be read from it.

python tests/files/make.py

A case is a name, the bytes, and either the table (columns as lists, dates as text in ISO 8601, None where a cell is
missing) with what some columns are taken for, or the words with which reading stops.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
CASES: list[tuple[str, bytes, dict[str, Any]]] = []


def case(name: str, data: str | bytes, table: dict | None = None, *, encoding: str = "utf-8", **more: Any) -> None:
    """One file; `stops`, `options`, `taken_for` and `notes` (words that must be said) go to its sidecar."""
    CASES.append((name, data.encode(encoding) if isinstance(data, str) else data, {"table": table, **more}))


def book(sheets: dict[str, list[list]], merged: str = "") -> bytes:
    import openpyxl

    out, made = io.BytesIO(), openpyxl.Workbook()
    made.remove(made.active)
    for name, rows in sheets.items():
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
        if merged and rows:
            sheet.merge_cells(merged)
    made.save(out)
    return out.getvalue()


def archive(members: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, text in members.items():
            file.writestr(name, text)
    return out.getvalue()


# fmt: off
# Separators, encodings, line ends
case("semicolon_comma_newline.csv", 'Name;Preis;Notiz\nMüller;1,5;"zwei\nZeilen"\nMeier;2,25;"a; b"\nKunz;3;ok\n',
     {"Name": ["Müller", "Meier", "Kunz"], "Preis": [1.5, 2.25, 3], "Notiz": ["zwei\nZeilen", "a; b", "ok"]})
case(
    "semicolon_latin1.csv",
    "Straße;Größe;Ort\nHauptstraße 1;1,78;Köln\nAm Bühl 2;1,65;Nürnberg\nRing 3;1,7;Köln\n",
    {
        "Straße": ["Hauptstraße 1", "Am Bühl 2", "Ring 3"],
        "Größe": [1.78, 1.65, 1.7],
        "Ort": ["Köln", "Nürnberg", "Köln"],
    },
    encoding="latin-1",
)
case("cp1252_euro.csv", "prix;nom\n1 234,50 €;Élodie\n99,00 €;François\n12,00 €;Noël\n",
     {"prix": [1234.5, 99, 12], "nom": ["Élodie", "François", "Noël"]}, encoding="cp1252")
case("utf8_bom.csv", "id,wert\n1,2.5\n2,3.5\n", {"id": [1, 2], "wert": [2.5, 3.5]}, encoding="utf-8-sig")
case("utf16_tabs.txt", "city\tcount\nŁódź\t12\nGdańsk\t7\n", {"city": ["Łódź", "Gdańsk"], "count": [12, 7]},
     encoding="utf-16")
case("utf16le_no_mark.csv", "a,b\n1,x\n2,y\n3,z\n", {"a": [1, 2, 3], "b": ["x", "y", "z"]}, encoding="utf-16-le")
case("cyrillic_1251.csv", "город;люди\nМосква;12,5\nКазань;1,3\nСамара;1,1\n",
     {"город": ["Москва", "Казань", "Самара"], "люди": [12.5, 1.3, 1.1]}, encoding="cp1251")
case("tabs_named_csv.csv", "a\tb\tc\n1,5\t2\tx, y\n2,5\t3\tz\n", {"a": [1.5, 2.5], "b": [2, 3], "c": ["x, y", "z"]})
case("pipes.txt", "sku|qty|price\nA-1|3|$4.50\nB-2|5|$1,200.00\n",
     {"sku": ["A-1", "B-2"], "qty": [3, 5], "price": [4.5, 1200]})
case("pipes_2.csv", "x|y|t\n1.5|2|a,b,c\n2.5|3|d;e\n", {"x": [1.5, 2.5], "y": [2, 3], "t": ["a,b,c", "d;e"]})
case("carriage_returns.csv", "a,b\r1,x\r2,y\r", {"a": [1, 2], "b": ["x", "y"]})
case("carriage_returns_2.csv", "a;b;c\r1,5;u;2\r2,5;v;3\r", {"a": [1.5, 2.5], "b": ["u", "v"], "c": [2, 3]})
case("excel_sep_line.csv", "sep=;\r\nName;Wert\r\nA;1,5\r\nB;2,5\r\n", {"Name": ["A", "B"], "Wert": [1.5, 2.5]})
case("blanks.dat", "x   y    z\n1.5  2   3\n2.5  3  4\n10.0 4 5\n",
     {"x": [1.5, 2.5, 10], "y": [2, 3, 4], "z": [3, 4, 5]})
case("blanks_behind_commas.csv", 'name, x, note\n a, 1, "b, c"\n d , 2, "e"\n',
     {"name": ["a", "d"], "x": [1, 2], "note": ["b, c", "e"]})
case("nul_bytes.csv", b"a,b\n1,x\x00\n2,y\n\x00\x00\n3,z\n", {"a": [1, 2, 3], "b": ["x", "y", "z"]})
case("nul_bytes_2.csv", b"a;b\n1,5;u\x00\x00v\n2,5;w\n", {"a": [1.5, 2.5], "b": ["uv", "w"]})

# Numbers
case("thousands_point.csv", "firma;umsatz;stück\nA;1.234,56 €;1.000\nB;12.345.678,90 €;250\nC;7,00 €;12.000\n",
     {"firma": ["A", "B", "C"], "umsatz": [1234.56, 12345678.9, 7], "stück": [1000, 250, 12000]})
case("thousands_apostrophe.csv", "Ort;Einkommen\nBern;CHF 85'000.50\nGenf;CHF 1'200'000.00\n",
     {"Ort": ["Bern", "Genf"], "Einkommen": [85000.5, 1200000]})
case("thousands_apostrophe_2.csv", "a,b\n1’234.5,x\n12’000,y\n", {"a": [1234.5, 12000], "b": ["x", "y"]})
case("thousands_spaces.csv",
     "ville;budget\nLyon;1 234 567,8\nNice;12\u202f345,6\nPau;1\u00a0000,0\nNey;2\u2009000,0\n",
     {"ville": ["Lyon", "Nice", "Pau", "Ney"], "budget": [1234567.8, 12345.6, 1000, 2000]})
case(
    "us_business.csv",
    'region,sales,margin,closed\nWest,"$1,234.50",12%,02/17/2023\nEast,"($987.00)",7.5%,12/31/2022\nNorth,-,n/a,?\n',
    {
        "region": ["West", "East", "North"],
        "sales": [1234.5, -987, None],
        "margin": [12, 7.5, None],
        "closed": ["2023-02-17", "2022-12-31", None],
    },
)
case("accounting_negatives.csv", 'account,balance\ncash,(123)\nbank,456\nloans,"(1,000)"\n',
     {"account": ["cash", "bank", "loans"], "balance": [-123, 456, -1000]})
case("trailing_minus.csv", "konto;saldo\nA;12,50-\nB;1.200,00\nC;7,00-\n",
     {"konto": ["A", "B", "C"], "saldo": [-12.5, 1200, -7]})
case("price_without_cents.csv", "ware;preis\nBrot;3,-\nWein;12,50\nBier;2,-\n",
     {"ware": ["Brot", "Wein", "Bier"], "preis": [3, 12.5, 2]})
case("percent.csv", "k;anteil\na;19,4 %\nb;7 %\nc;100 %\n", {"k": ["a", "b", "c"], "anteil": [19.4, 7, 100]})
case("exponents_comma.csv", "n;wert\na;1e5\nb;2,5e3\nc;1,5E-2\n", {"n": ["a", "b", "c"], "wert": [1e5, 2500, 0.015]})
case("exponents.csv", "a,b\n1e5,1\n2.5E+3,2\n-1e-2,3\n", {"a": [1e5, 2500, -0.01], "b": [1, 2, 3]})
case("units_in_cells.csv", "dog,weight,height\nrex,12 kg,50.5cm\nbob,7.5 kg,33cm\n",
     {"dog": ["rex", "bob"], "weight": [12, 7.5], "height": [50.5, 33]})
case("two_currencies.csv", "a,b\n$5.00,1\n€7.00,2\n$3.00,3\n", {"a": ["$5.00", "€7.00", "$3.00"], "b": [1, 2, 3]})
case("minus_signs.csv", "a,b\n\u22125.5,1\n3.25,2\n", {"a": [-5.5, 3.25], "b": [1, 2]})
case("infinite_digits.csv", "key,x\n12345678901234567890,1\n12345678901234567891,2\n",
     {"key": ["12345678901234567890", "12345678901234567891"], "x": [1, 2]})

# Missing markers
case("markers.csv", "a,b,c\n1,n/a,2.5\n?,4,-\n3,.,#N/A\n-,7,NULL\n",
     {"a": [1, None, 3, None], "b": [None, 4, None, 7], "c": [2.5, None, None, None]})
case("markers_2.csv", "alter;wert\n34;k.A.\nunbekannt;3,5\n51;--\nN/A;2,0\n",
     {"alter": ["34", "unbekannt", "51", None], "wert": [None, 3.5, None, 2]})
case("na_is_a_class.csv", "continent,x\nNA,1\nEU,2\n,3\nAS,4\n",
     {"continent": ["NA", "EU", None, "AS"], "x": [1, 2, 3, 4]})
case("na_is_a_class_asked.csv", "continent,x\nNA,1\nEU,2\nNA,3\n", {"continent": ["NA", "EU", "NA"], "x": [1, 2, 3]},
     options={"na": "none"})
case("stand_in_999.csv", "age,y\n" + "".join(f"{a},{a * 2}\n" for a in (21, 35, 999, 44, 52, 63, 999, 29)),
     {"age": [21, 35, 999, 44, 52, 63, 999, 29], "y": [42, 70, 1998, 88, 104, 126, 1998, 58]}, notes=["--na age=999"])
case("stand_in_999_said.csv", "age,y\n21,1\n999,999\n35,2\n", {"age": [21, None, 35], "y": [1, 999, 2]},
     options={"na": "age=999"})
case("question_marks_in_classes.csv", "job,x\nclerk,1\n?,2\nfarmer,3\nnurse,4\n",
     {"job": ["clerk", None, "farmer", "nurse"], "x": [1, 2, 3, 4]})
case("rhesus.csv", "rh,x\n+,1\n-,2\n+,3\n", {"rh": ["+", "-", "+"], "x": [1, 2, 3]})
case("few_words_among_numbers.csv", "v;k\n" + "".join(f"{i},5;a\n" for i in range(30)) + "kaputt;b\n",
     {"v": [i + 0.5 for i in range(30)] + [None], "k": ["a"] * 30 + ["b"]}, notes=["kaputt"])

# Yes and no
case("yes_no_german.csv", "person;mitglied\na;Ja\nb;Nein\nc;ja\nd;Ja\n",
     {"person": ["a", "b", "c", "d"], "mitglied": ["Ja", "Nein", "Ja", "Ja"]}, taken_for={"mitglied": "yes/no"})
case("true_false.csv", "x,flag\n1,TRUE\n2,FALSE\n3,true\n", {"x": [1, 2, 3], "flag": [True, False, True]},
     taken_for={"flag": "yes/no"})
case("oui_non.csv", "x;réponse\n1;oui\n2;non\n3;\n", {"x": [1, 2, 3], "réponse": ["oui", "non", None]},
     taken_for={"réponse": "yes/no"})

# Dates
case("dates_german.csv", "d;y\n17.02.2023;1\n3.4.2022;2\n01.12.2021;3\n",
     {"d": ["2023-02-17", "2022-04-03", "2021-12-01"], "y": [1, 2, 3]})
case("dates_us.csv", "d,y\n02/17/2023,1\n3/4/2022,2\n12/01/2021,3\n",
     {"d": ["2023-02-17", "2022-03-04", "2021-12-01"], "y": [1, 2, 3]})
case("dates_french.csv", "jour;y\n17 février 2023;1\n1er mars 2022;2\n3 déc. 2021;3\n",
     {"jour": ["2023-02-17", "2022-03-01", "2021-12-03"], "y": [1, 2, 3]})
case("dates_german_words.csv", "tag;y\n17. Februar 2023;1\n1. März 2022;2\n3. Dez. 2021;3\n",
     {"tag": ["2023-02-17", "2022-03-01", "2021-12-03"], "y": [1, 2, 3]})
case("dates_english_words.csv", 'd,y\n"Feb 17, 2023",1\n"March 1, 2022",2\n"Dec 3rd, 2021",3\n',
     {"d": ["2023-02-17", "2022-03-01", "2021-12-03"], "y": [1, 2, 3]})
case("dates_iso_zones.csv", "t,y\n2023-02-17T10:00:00Z,1\n2023-02-17T10:00:00+02:00,2\n",
     {"t": ["2023-02-17T10:00:00+00:00", "2023-02-17T08:00:00+00:00"], "y": [1, 2]})
case("dates_times.csv", "t;y\n17.02.2023 14:05;1\n18.02.2023 09:30;2\n",
     {"t": ["2023-02-17T14:05:00", "2023-02-18T09:30:00"], "y": [1, 2]})
case("dates_times_us.csv", "t,y\n2/17/2023 2:05 PM,1\n2/18/2023 12:30 AM,2\n",
     {"t": ["2023-02-17T14:05:00", "2023-02-18T00:30:00"], "y": [1, 2]})
case("dates_compact.csv", "day,y\n20230217,1\n20220304,2\n20211203,3\n",
     {"day": ["2023-02-17", "2022-03-04", "2021-12-03"], "y": [1, 2, 3]}, notes=["--columns day=number"])
case("dates_serial.csv", "Datum;y\n44974;1\n44624;2\n44533;3\n",
     {"Datum": ["2023-02-17", "2022-03-04", "2021-12-03"], "y": [1, 2, 3]}, notes=["--columns Datum=number"])
case("dates_months.csv", "month,y\n2023-02,1\n2022-03,2\n", {"month": ["2023-02-01", "2022-03-01"], "y": [1, 2]})
case("dates_ambiguous.csv", "d,y\n03/04/2024,1\n05/06/2024,2\n", stops="--dates dmy or --dates mdy")
case("dates_ambiguous_said.csv", "d,y\n03/04/2024,1\n05/06/2024,2\n",
     {"d": ["2024-04-03", "2024-06-05"], "y": [1, 2]}, options={"dates": "dmy"})
case("dates_impossible.csv", "d,y\n31.02.2023,1\n12.13.2022,2\n", {"d": ["31.02.2023", "12.13.2022"], "y": [1, 2]})

# Codes and names of rows
case("zip_codes.csv", "zip,x\n02139,1\n10001,2\n94105,3\n", {"zip": ["02139", "10001", "94105"], "x": [1, 2, 3]},
     taken_for={"zip": "code"})
case("zip_codes_late.csv", "plz;x\n" + "10115;1\n" * 3_000 + "04109;2\n",
     {"plz": ["10115"] * 3_000 + ["04109"], "x": [1] * 3_000 + [2]}, taken_for={"plz": "code"})
case("phones.csv", "name;telefon\nA;0171 1234567\nB;+49 30 123456\nC;030/99887\n",
     {"name": ["A", "B", "C"], "telefon": ["0171 1234567", "+49 30 123456", "030/99887"]})
case("phones_us.csv", "who,phone\na,555-123-4567\nb,(555) 765-4321\n",
     {"who": ["a", "b"], "phone": ["555-123-4567", "(555) 765-4321"]})
case("ids.csv", "customer_id,x\n" + "".join(f"{1000 + 7 * i},{i % 3}\n" for i in range(25)),
     {"customer_id": [1000 + 7 * i for i in range(25)], "x": [i % 3 for i in range(25)]},
     taken_for={"customer_id": "names rows"})
case("hashes.csv", "h,x\n" + "".join(f"{(i + 1) * 2654435761 % 2**32:08x}ab,{i % 3}\n" for i in range(25)),
     {"h": [f"{(i + 1) * 2654435761 % 2**32:08x}ab" for i in range(25)], "x": [i % 3 for i in range(25)]},
     taken_for={"h": "names rows"})
case("unnamed_index.csv", ",a,b\n0,1.5,x\n1,2.5,y\n2,3.5,z\n",
     {"Unnamed: 0": [0, 1, 2], "a": [1.5, 2.5, 3.5], "b": ["x", "y", "z"]})
case("row_names_of_r.txt", '"a" "b"\n"1" 1.5 2\n"2" 2.5 3\n"3" 3.5 4\n',
     {"Unnamed: 0": [1, 2, 3], "a": [1.5, 2.5, 3.5], "b": [2, 3, 4]})
case("row_names_of_r.csv", '"a","b"\n"r1",1.5,2\n"r2",2.5,3\n"r3",3.5,4\n',
     {"Unnamed: 0": ["r1", "r2", "r3"], "a": [1.5, 2.5, 3.5], "b": [2, 3, 4]})

# Rows that are no rows
case("title_above.csv", "Quarterly report,,\n,,\nregion,sales,staff\nWest,5,2\nEast,7,3\nNorth,4,1\n",
     {"region": ["West", "East", "North"], "sales": [5, 7, 4], "staff": [2, 3, 1]})
case("title_above_2.csv", "Umsatzbericht\nStand: 1. Mai\n\nName;Wert;Ort\nA;1,5;X\nB;2,5;Y\n",
     {"Name": ["A", "B"], "Wert": [1.5, 2.5], "Ort": ["X", "Y"]})
case("units_row.csv", "name,mass,length\n,kg,cm\na,1.5,20\nb,2.5,30\nc,3.5,40\n",
     {"name": ["a", "b", "c"], "mass": [1.5, 2.5, 3.5], "length": [20, 30, 40]})
case("units_row_2.csv", "Zeit;Temp;Druck\n[s];[°C];[bar]\n1;20,5;1,01\n2;21,5;1,02\n3;22,5;1,03\n",
     {"Zeit": [1, 2, 3], "Temp": [20.5, 21.5, 22.5], "Druck": [1.01, 1.02, 1.03]})
case("total_row.csv", "region,sales,staff\nWest,5,2\nEast,7,3\nNorth,4,1\nTotal,16,6\n",
     {"region": ["West", "East", "North"], "sales": [5, 7, 4], "staff": [2, 3, 1]}, notes=["Total"])
case(
    "total_row_2.csv",
    "Monat;Betrag;Konto\n01.01.2023;1.200,50 €;A\n01.02.2023;800,00 €;B\n01.03.2023;99,50 €;A\nSumme;2.100,00 €;\n\n"
    "Quelle: eigene Erhebung der Firma;;\n",
    {"Monat": ["2023-01-01", "2023-02-01", "2023-03-01"], "Betrag": [1200.5, 800, 99.5], "Konto": ["A", "B", "A"]},
    notes=["Summe"],
)
case("comment_header.csv", "# measured in May\n# by hand\na,b\n1,2\n3,4\n", {"a": [1, 3], "b": [2, 4]})
case("comment_is_header.txt", "#a\tb\tc\n1\t2\tx\n3\t4\ty\n", {"a": [1, 3], "b": [2, 4], "c": ["x", "y"]})
case("comments_between.csv", "a,b,c\n1,2,x\n# a break\n3,4,y\n", {"a": [1, 3], "b": [2, 4], "c": ["x", "y"]})
case("names_again.csv", "a,b\n1,x\n2,y\na,b\n3,z\n", {"a": [1, 2, 3], "b": ["x", "y", "z"]})
case("empty_rows_and_columns.csv", "a,b,,\n1,x,,\n,,,\n2,y,,\n,,,\n", {"a": [1, 2], "b": ["x", "y"]})
case("empty_column_named.csv", "a,b,c\n1,,x\n2,,y\n", {"a": [1, 2], "b": [None, None], "c": ["x", "y"]},
     taken_for={"b": "empty"})
case("no_names.csv", "1.5,2,3.5\n2.5,3,4.5\n3.5,4,5.5\n",
     {"column_1": [1.5, 2.5, 3.5], "column_2": [2, 3, 4], "column_3": [3.5, 4.5, 5.5]}, notes=["no names"])
case("years_are_names.csv", "country,2019,2020\nDE,1.5,2.5\nFR,3.5,4.5\n",
     {"country": ["DE", "FR"], "2019": [1.5, 3.5], "2020": [2.5, 4.5]})
case("twice_named.csv", "a,b,a\n1,2,3\n4,5,6\n", {"a": [1, 4], "b": [2, 5], "a.1": [3, 6]},
     notes=["several columns are called 'a'"])
case("twice_named_2.csv", "x;x;x\n1,5;2;u\n2,5;3;v\n", {"x": [1.5, 2.5], "x.1": [2, 3], "x.2": ["u", "v"]})
case("ragged_short.csv", "a,b,c\n1,2,3\n4,5\n6\n7,8,9\n",
     {"a": [1, 4, 6, 7], "b": [2, 5, None, 8], "c": [3, None, None, 9]})
case("ragged_long.csv", "a,b,c\n1,2,3\n4,5,6,7\n8,9,10\n", stops="line 3 has 4 cells, but there are 3 names")
case("separator_at_end.csv", "a;b;\n1,5;x;\n2,5;y;\n", {"a": [1.5, 2.5], "b": ["x", "y"]})
case("whitespace.csv", " name ,  x\n  ann  , 1 \n bob,  2\n", {"name": ["ann", "bob"], "x": [1, 2]})

case("names_in_two_rows.csv", "group,A,,B,\n,x,y,x,y\nr1,1,2,3,4\nr2,5,6,7,8\nr3,1,1,1,1\n",
     {"group": ["r1", "r2", "r3"], "A x": [1, 5, 1], "A y": [2, 6, 1], "B x": [3, 7, 1], "B y": [4, 8, 1]})
case("pairs_above.csv", "Report;2023\nVersion;1.2\nName;Wert;Ort\na;1,5;x\nb;2,5;y\nc;3,5;z\n",
     {"Name": ["a", "b", "c"], "Wert": [1.5, 2.5, 3.5], "Ort": ["x", "y", "z"]})
case("total_without_label.csv", "x,y,z\na,1,2\nb,3,4\n,4,6\n", {"x": ["a", "b"], "y": [1, 3], "z": [2, 4]},
     notes=["total"])
case("names_only.csv", "a,b,c\n", {"a": [], "b": [], "c": []})
case("names_with_gaps.csv", ",,a\n1,2,3\n4,5,6\n", {"Unnamed: 0": [1, 4], "Unnamed: 1": [2, 5], "a": [3, 6]})
case("three_decimals.csv", "lat;lon\n52,520;13,405\n48,137;11,575\n", {"lat": [52.52, 48.137], "lon": [13.405, 11.575]},
     notes=["--decimal ."])
case("three_digits.csv", "a;b\n1.234;x\n12.345;y\n999;z\n", {"a": [1.234, 12.345, 999], "b": ["x", "y", "z"]},
     notes=["--decimal ,"])
case("three_digits_said.csv", "a;b\n1.234;x\n12.345;y\n999;z\n", {"a": [1234, 12345, 999], "b": ["x", "y", "z"]},
     options={"decimal": ","})

# Text
case("mixed_types.csv", "v,x\n1,1\ntwo,2\n3.5,3\n2024-01-01,4\n",
     {"v": ["1", "two", "3.5", "2024-01-01"], "x": [1, 2, 3, 4]})
case("long_text.csv", "t,x\n" + "word " * 20_000 + ",1\nshort,2\n",
     {"t": ("word " * 20_000).strip() and [("word " * 20_000).strip(), "short"], "x": [1, 2]})
case("emoji.csv", "mood,x\n😀,1\n😡👍🏽,2\n😀,3\n", {"mood": ["😀", "😡👍🏽", "😀"], "x": [1, 2, 3]})
case("formulas.csv", "a,b\n=1+1,1\n@x,2\n+y,3\n", {"a": ["=1+1", "@x", "+y"], "b": [1, 2, 3]})
case(
    "sentences.csv",
    "review,stars\n"
    + "".join(
        f'"It took {i} days, and I was {w} with it.",{s}\n' for i, (w, s) in enumerate([("happy", 5), ("sad", 1)] * 13)
    ),
    {
        "review": [
            f"It took {i} days, and I was {w} with it." for i, (w, _) in enumerate([("happy", 5), ("sad", 1)] * 13)
        ],
        "stars": [5, 1] * 13,
    },
    taken_for={"review": "text"},
)

# No tables
case("prose.txt",
     "It was a dark night and nobody came.\nThe rain fell in torrents all the time.\nThen the wind rose.\n",
     stops="one column of text")
case("page.csv", "<!DOCTYPE html><html><body>moved</body></html>\n", stops="a web page")
case("data.csv", '{"a": [1, 2], "b": [3, 4]}\n', stops="JSON")
case("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, stops="a picture")
case("binary.csv", bytes(range(256)) * 20, stops="no text")
case("empty.csv", b"", stops="is empty")
case("lfs_pointer.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", stops="git lfs")

# Packed files and sheets
case("gzip_named.csv", gzip.compress(b"a;b\n1,5;x\n2,5;y\n", mtime=0), {"a": [1.5, 2.5], "b": ["x", "y"]})
case("packed.csv.gz", gzip.compress(b"a,b\n1.5,x\n2.5,y\n", mtime=0), {"a": [1.5, 2.5], "b": ["x", "y"]})
case("one_member.zip", archive({"t.csv": "a,b\n1,x\n2,y\n"}), {"a": [1, 2], "b": ["x", "y"]})
case("two_members.zip", archive({"one.csv": "a\n1\n", "two.csv": "a\n2\n"}),
     stops="holds 2 files; say which one with --sheet: one.csv, two.csv")
case("two_members_said.zip", archive({"one.csv": "a,b\n1,2\n", "two.csv": "a,b\n3,4\n"}), {"a": [3], "b": [4]},
     options={"sheet": "two.csv"})
_TITLE = [["Report 2023", None, None], [None, None, None], ["region", "sales", "day"]]
_CELLS = [
    ["West", 5.5, datetime(2023, 2, 17)],
    ["East", 7, datetime(2022, 3, 4)],
    ["North", None, datetime(2021, 12, 3)],
]
_READ = {
    "region": ["West", "East", "North"],
    "sales": [5.5, 7, None],
    "day": ["2023-02-17", "2022-03-04", "2021-12-03"],
}
case("merged_title.xlsx", book({"data": [*_TITLE, *_CELLS]}, "A1:C1"), _READ)
case("several_sheets.xlsx", book({"data": [_TITLE[2], *_CELLS], "notes": [["by hand"], ["in May"]]}),
     stops="2 sheets with cells; say which with --sheet: data, notes")
case("several_sheets_said.xlsx",
     book({"notes": [["by hand"]], "data": [*_TITLE, *_CELLS, ["Total", 12.5, None]]}, ""), _READ,
     options={"sheet": "data"})
case("text_in_sheet.xlsx",
     book({"s": [["plz", "betrag", "tag"], ["04109", "1.234,50 €", "17.02.2023"], ["10115", "7,00 €", "03.04.2022"]]}),
     {"plz": ["04109", "10115"], "betrag": [1234.5, 7], "tag": ["2023-02-17", "2022-04-03"]})
case("table_from.xls", "name\tx\na\t1\nb\t2\n", {"name": ["a", "b"], "x": [1, 2]})

# fmt: on


def main() -> None:
    for name, data, sidecar in CASES:
        (FOLDER / name).write_bytes(data)
        said = {key: value for key, value in sidecar.items() if value is not None}
        (FOLDER / f"{name}.json").write_text(
            json.dumps(said, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8"
        )
    print(f"{len(CASES)} files")


if __name__ == "__main__":
    main()

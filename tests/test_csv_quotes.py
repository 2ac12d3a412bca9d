"""A quote that is not closed in a CSV file is an error that names its line."""

import csv
import gzip
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError
from jobs import csv_quotes, csv_rows
from tests.test_csv_rows import rows_of

NOT_CLOSED = (
    "a quote is opened and not closed, so its field goes on to the end of the file; a field that "
    "begins with a quote ends with one, and quotes within it are written twice"
)
PARTS = ["a", '"', '"', '""', ",", "\n", "\r\n", "\r", "é"]


def line_of_open_quote(text, longest):
    """Read a text one character after the other."""
    opened = size = at = 0
    while at < len(text):
        within = text[at : at + 2] if opened else ""
        size += len(text[at].encode()) if opened else 0
        if within == '""':
            size, at = size + 1, at + 1
        elif within[:1] == '"':
            if size > longest:
                return opened
            opened = 0
        elif not opened and text[at] == '"' and (at == 0 or text[at - 1] in ",\r\n"):
            opened, size = len(re.split("\r\n?|\n", text[:at])), 0
        at += 1
    return opened or None


@given(
    st.lists(st.sampled_from(PARTS), max_size=40).map("".join),
    st.integers(1, 9),
    st.sampled_from([None, 4, 100]),
    st.booleans(),
)
def test_the_line_is_that_of_the_quote_left_open(tmp_path_factory, text, piece, longest, marked):
    path = tmp_path_factory.mktemp("quotes") / "people.csv.gz"
    path.write_bytes(gzip.compress(text.encode("utf-8-sig" if marked else "utf-8")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_quotes, "PIECE_BYTES", piece)
        found = csv_quotes.open_quote(path, longest)
    assert found == line_of_open_quote(text, 10**9 if longest is None else longest)


@given(st.lists(st.sampled_from(PARTS), max_size=12).map("".join))
def test_arrow_reads_the_quotes_so_too(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("quotes") / "people.csv"
    path.write_text("id,a\n" + text, newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "ALLOWED", "allowed")
        try:
            rows_of(path)
            said = ""
        except DataError as error:
            said = str(error)
    line = csv_quotes.open_quote(path)
    if line is None:
        assert "not closed" not in said
    else:  # of a row before it may be told that it has the wrong number of fields
        assert f"line {line}: a quote is opened and not closed" in said or "Expected 2" in said


@pytest.mark.parametrize("is_zipped", [False, True])
@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('id,a\n1,2\n"8,9\n10,11\n', 3),
        ('id,a\n1,2\n"', 3),
        ('id,a\n1,2\n8,"9', 3),
        ('id,a\n1,2\n8,9,"10\n', 3),
        ('id,a\n1,2\n8,"9\r\n,7\r\n', 3),
        ('id,a\n1,"2\n3"\n4,"5', 4),
        ('id,"a\n1,2\n3,4\n', 1),
        ('"id,a\n1,2\n3,4\n', 1),
        ('"', 1),
        ('\n\nid,"a', 3),
    ],
)
def test_a_quote_that_is_not_closed_is_an_error(content, line, is_zipped, tmp_path):
    """It would swallow all rows after it, and nobody would miss them."""
    path = tmp_path / f"people9.csv{'.gz' * is_zipped}"
    path.write_bytes((gzip.compress if is_zipped else bytes)(content.encode()))
    with pytest.raises(DataError) as error:
        rows_of(path)
    assert str(error.value) == f"{path}, line {line}: {NOT_CLOSED}"


def test_quotes_within_fields_are_none(tmp_path):
    (tmp_path / "whole.csv").write_text('id,a\n1,5" pipe\n2,"a ""b"""\n')
    assert rows_of(tmp_path / "whole.csv") == [["1", '5" pipe'], ["2", 'a "b"']]


def test_a_row_longer_than_a_block_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "BLOCK_BYTES", 64)
    path = tmp_path / "people9.csv"
    path.write_text('id,a\n1,2\n3,"8,9\n' + "10,11\n" * 99)
    with pytest.raises(DataError) as error:
        rows_of(path)
    assert str(error.value).startswith(
        f"{path}, line 3: a row is longer than 64 bytes; is a quote not closed? a field that begins"
    )


@pytest.mark.parametrize("is_header", [False, True])
def test_a_long_row_whose_quotes_are_closed_says_so(is_header, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "BLOCK_BYTES", 64)
    rows = [["id", "a"], ["1", "x" * 200]]
    with (tmp_path / "people9.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows[::-1] if is_header else rows)
    with pytest.raises(DataError, match="9.csv: a row is longer than 64 bytes, the most that one"):
        rows_of(tmp_path / "people9.csv")

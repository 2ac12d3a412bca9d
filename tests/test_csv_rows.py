"""Rows of CSV files are those that Python's own reader finds, wherever blocks end."""

import csv
import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError
from engine.ingest import ROW
from jobs import csv_rows, raw
from tests.ingested import job_of, parts_of, run

NAMES = ["id", "a", "b"]
TEXTS = st.lists(st.sampled_from(["a", '"', ",", "\n", "\r\n", "\r", " ", "é"]), max_size=5)


def rows_of(path):
    """Read a file as ingest does; return its fields, empty ones as such."""
    file = raw.open_file(path, path.parent)
    tables = list(raw.read(raw.chunks([file])[0], file.schema))
    rows = [row for table in tables for row in table.to_pylist()]
    assert [row[ROW] for row in rows] == list(range(len(rows)))
    return [[row[name] or "" for name in file.schema.names] for row in rows]


FILES = st.fixed_dictionaries({
    "rows": st.lists(st.lists(TEXTS.map("".join), min_size=3, max_size=3), max_size=12),
    "end": st.sampled_from(["\n", "\r\n"]),
    "block": st.sampled_from([*range(60, 80), 2**20]),
    "is_zipped": st.booleans(),
    "is_cut": st.booleans(),
})  # fmt: skip


@given(FILES)
def test_rows_are_those_of_pythons_reader(tmp_path_factory, case):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=case["end"], quoting=csv.QUOTE_ALL)
    writer.writerows([NAMES, *case["rows"]])
    content = text.getvalue().removesuffix(case["end"] if case["is_cut"] else "")
    path = tmp_path_factory.mktemp("rows") / f"people.csv{'.gz' * case['is_zipped']}"
    path.write_bytes((gzip.compress if case["is_zipped"] else bytes)(content.encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "BLOCK_BYTES", case["block"])
        assert rows_of(path) == list(csv.reader(io.StringIO(content, newline="")))[1:]


def test_a_block_may_end_within_a_quoted_line_break(tmp_path, monkeypatch):
    rows = [["x", "\r\n" * 9, "\r\r\n"]] * 9
    with (tmp_path / "people.csv").open("w", newline="") as file:
        csv.writer(file).writerows([NAMES, *rows])
    for block in range(40, 70):
        monkeypatch.setattr(csv_rows, "BLOCK_BYTES", block)
        assert rows_of(tmp_path / "people.csv") == rows


def test_a_table_with_line_breaks_is_what_it_is_in_parquet(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "BLOCK_BYTES", 80)
    people = pa.table({"id": [f"s{i}" for i in range(40)], "note": ["two\r\nlines", "a\n,b"] * 20})
    usage = pa.table({
        "who": [f"s{i % 45}" for i in range(90)], "at": ["2026-09-01"] * 90, "mb": ["1.5"] * 90,
        "drift": ["0"] * 90, "kind": ["x\ny", "\r\n", "plain"] * 30,
    })  # fmt: skip
    results = []
    for kind in ("parquet", "csv"):
        folder = tmp_path / kind
        folder.mkdir()
        for name, table in (("people", people), ("usage", usage)):
            if kind == "parquet":
                kinds = {"mb": pa.float64(), "drift": pa.float64()}
                fields = [(c, kinds.get(c, pa.string())) for c in table.column_names]
                pq.write_table(table.cast(pa.schema(fields)), folder / f"{name}.parquet")
            else:
                with (folder / f"{name}.csv").open("w", newline="") as file:
                    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
                    writer.writerow(table.column_names)
                    writer.writerows(row.values() for row in table.to_pylist())
        results.append(run(job_of(folder)))
    (parquet, counts), (text, same) = results
    assert counts == same and counts["tables"]["usage"]["kept"] == 80
    for table in ("subscribers", "events/usage"):
        found = pa.concat_tables(parts_of(text, table))
        assert found == pa.concat_tables(parts_of(parquet, table))


def test_a_row_with_a_field_too_many_is_still_an_error(tmp_path):
    (tmp_path / "people9.csv").write_text("id\n1\n2,3\n")
    with pytest.raises(DataError, match="Expected 1 columns, got 2: 2,3"):
        rows_of(tmp_path / "people9.csv")


@pytest.mark.parametrize("content", ["", "\n", "\r\n\r\n"])
def test_a_file_without_names_is_an_error(content, tmp_path):
    (tmp_path / "people9.csv").write_text(content, newline="")
    with pytest.raises(DataError, match="cannot be read as CSV: Empty CSV file"):
        rows_of(tmp_path / "people9.csv")

"""CSV files give what Parquet files give; their keys and types are what all rows say."""

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.errors import DataError
from jobs import csv_rows, raw
from tests.ingested import (
    INSTANTS,
    PEOPLE,
    STRANGERS,
    arrow_type,
    content,
    error_of,
    job_of,
    parts_of,
    run,
    usage_table,
)


@pytest.mark.parametrize("keys", ["whole", "text"])
def test_csv_gives_what_parquet_gives(keys, tmp_path):
    rows = [
        {"who": who, "at": at, "mb": mb, "drift": 0.5, "kind": kind}
        for who in [*PEOPLE[keys], STRANGERS[keys][0]]
        for at in INSTANTS["text"][:6]
        for mb, kind in ((0.0, "a"), (1.25, None))
    ]
    table = pa.Table.from_pylist(rows, arrow_type("text", keys))
    people = pa.table({"id": PEOPLE[keys], "rank": [1.5, 2, 3, 4], "on": [True, False, None, True]})
    results = []
    for kind, write in (("parquet", pq.write_table), ("csv", csv.write_csv)):
        folder = tmp_path / kind
        folder.mkdir()
        write(table, folder / f"usage.{kind}")
        write(people, folder / f"people.{kind}")
        results.append(run(job_of(folder)))
    assert results[0][1] == results[1][1]
    assert content(results[0][0]) == content(results[1][0])


def usage_csv(*keys):
    """Return a usage CSV file with an event of each key."""
    return "who,at,mb,drift,kind\n" + "".join(f"{key},2026-09-01,1,1,x\n" for key in keys)


@pytest.mark.parametrize(
    ("people", "kept", "rejected"),
    [
        (["7", "-8"], [7], {"unparsable key": 3}),
        (["007", "8"], ["007"], {"unknown subscriber": 3}),
        (["7", "+8"], ["7"], {"unknown subscriber": 3}),
        (["7", "00"], ["7"], {"unknown subscriber": 3}),
        (["7", "9223372036854775808"], ["7"], {"unknown subscriber": 3}),
        (["9223372036854775807", "7"], [7], {"unparsable key": 3}),
        (["7", "a"], ["7"], {"unknown subscriber": 3}),
    ],
)
@pytest.mark.parametrize("files", [1, 2])
def test_keys_of_csv_files_are_whole_numbers_only_if_all_are_written_as_such(
    people, kept, rejected, files, tmp_path
):
    for i in range(files):
        (tmp_path / f"people{i}.csv").write_text("id\n" + "\n".join(people[i::files]) + "\n")
    (tmp_path / "usage.csv").write_text(usage_csv("7", "007", "+7", "7.0"))
    out, summary = run(job_of(tmp_path))
    events = pa.concat_tables(parts_of(out, "events/usage"))
    assert events["subscriber"].to_pylist() == kept
    assert summary["tables"]["usage"]["rejected"] == rejected
    found = pa.concat_tables(parts_of(out, "subscribers"))["subscriber"].to_pylist()
    assert sorted(map(str, found)) == sorted(people)
    assert all(type(key) is type(kept[0]) for key in found)


def test_csv_keys_follow_parquet_files(tmp_path):
    """Stored keys say what they are: those of the subscriber table first, then those of events."""
    (tmp_path / "people0.csv").write_text("id\n1\n2\n")
    text = usage_table(who=pa.array(["1", "2"]))
    pq.write_table(text, tmp_path / "usage.parquet")
    assert run(job_of(tmp_path), "of events")[1]["tables"]["usage"]["kept"] == 2
    pq.write_table(pa.table({"id": ["x"]}), tmp_path / "people1.parquet")
    assert run(job_of(tmp_path), "of subscribers")[1]["subscribers"] == 3
    pq.write_table(pa.table({"id": [3]}), tmp_path / "people1.parquet")
    with pytest.raises(DataError, match="who .key. is text, but .* is whole number; they should"):
        run(job_of(tmp_path), "apart")


def test_a_csv_key_that_is_no_whole_number_is_named_where_it_should_be_one(tmp_path):
    (tmp_path / "people9.csv").write_text("id\n3\n004\n005\n")
    assert error_of(tmp_path, [usage_table()]) == [
        "IN/people9.csv: column id (key) has 004, which is not written as a whole number of 64 "
        "bits, but the keys of the table's Parquet files are whole numbers"
    ]
    (tmp_path / "people0.parquet").unlink()
    with pytest.raises(DataError) as error:
        run(job_of(tmp_path))
    assert str(error.value) == (
        f"{tmp_path}/usage0.parquet: column who (key) is whole number, but the key of the "
        f"subscriber table is text (004 in {tmp_path}/people9.csv is not written as a whole "
        "number); they should be the same"
    )


FIELDS = ["1", "0", "true", "TRUE", "1.5", "1e5", "NaN", "inf", "007", "9" * 20, "abc", "", "NULL",
          "2026-01-01", "2026-01-01 10:00:00", "2026-01-01T10:00:00.5", "2026-01-01T10:00:00Z",
          "2026-01-01T10:00:00.5+0200", "10:00", "10:00:00", '"a,b"', '"a\nb"']  # fmt: skip


@example(fields=['"a\nb"'] * 11 + ["NULL"], block=90)
@given(
    fields=st.sets(st.sampled_from(FIELDS), min_size=1, max_size=3).flatmap(
        lambda some: st.lists(st.sampled_from(sorted(some)), max_size=12)
    ),
    block=st.sampled_from([90, 2**20]),
)
def test_types_of_csv_columns_are_those_arrow_finds_in_the_whole_file(
    fields, block, tmp_path_factory
):
    path = tmp_path_factory.mktemp("types") / "people.csv"
    path.write_text("id,a\n" + "".join(f"x,{field}\n" for field in fields))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "BLOCK_BYTES", block)
        found = raw.typed(raw.open_file(path, path.parent), "id").schema
    options = csv.ConvertOptions(null_values=[""], strings_can_be_null=True)
    whole = csv.read_csv(path, convert_options=options)
    assert found == whole.schema.set(0, pa.field("id", pa.string()))


def test_a_large_csv_file_is_typed_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "BLOCK_BYTES", 2**12)
    path = tmp_path / "people.csv"
    path.write_text("id,a,b\n" + "".join(f"{i},{i / 7},some text\n" for i in range(100_000)))
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(pool)
    try:
        found = raw.typed(raw.open_file(path, tmp_path), "id")
    finally:
        pa.set_memory_pool(usual)
    assert found.schema.types == [pa.string(), pa.float64(), pa.string()]
    assert pool.max_memory() < path.stat().st_size / 8

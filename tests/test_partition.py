"""A partition is read piece by piece: the same features however its row groups are cut."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine import arrow, ingest, profile, tables
from engine.errors import DataError
from jobs import stored
from jobs.partition import Part, Partition
from jobs.profile import profile as stage
from jobs.shuffle import write_events
from jobs.tasks import SerialTasks
from tests.profiled import JOB
from tests.test_profile_stage import big_partition, ingested

NAME = "part-00000.parquet"
COLUMNS = profile.event_columns(JOB)


@pytest.fixture
def source(tmp_path):
    return ingested(tmp_path / "in", *big_partition(60, 3_000), 1)


def cut(path, how, keys):
    """Write events again: in row groups of so many rows, or as ingest cuts them."""
    rows = pq.read_table(path)
    if how == "ingest":
        texts = [f for f in rows.schema if pa.types.is_large_string(f.type)]
        schema = rows.schema
        for field in texts:
            schema = schema.set(schema.get_field_index(field.name), field.with_type(pa.string()))
        write_events(rows.cast(schema), keys, path)
    else:
        pq.write_table(rows, path, row_group_size=how)


def features(source, folder):
    folder.mkdir()
    stage(JOB, source, folder, SerialTasks())
    return folder / "features" / NAME


@pytest.mark.parametrize("how", ["ingest", 500, 997])
def test_features_are_the_same_however_row_groups_are_cut(source, tmp_path, monkeypatch, how):
    expected = tables.read(features(source, tmp_path / "whole"))
    monkeypatch.setattr(ingest, "GROUP", 300)
    monkeypatch.setattr(arrow, "GROUP", 5_000)
    keys = pq.read_table(source / "subscribers" / NAME)["subscriber"]
    for table in ("usage", "contacts"):  # outcomes stay one row group
        cut(source / "events" / table / NAME, how, keys)
    found = features(source, tmp_path / "cut")
    pd.testing.assert_frame_equal(tables.read(found), expected, check_exact=True)
    assert pq.read_metadata(found).num_row_groups > 1


@pytest.mark.parametrize("keys", ["whole", "text"])
@pytest.mark.parametrize("size", [0, 1, 2, 5, 1_000])
def test_ingest_cuts_row_groups_where_pieces_end(tmp_path, monkeypatch, size, keys):
    monkeypatch.setattr(ingest, "GROUP", 100)
    rng = np.random.default_rng(size)
    people = np.arange(max(size // 20, 1)) * 3
    who = np.sort(rng.choice(people, size))
    if keys == "text":
        people, who = ([f"{k:04}" for k in some.tolist()] for some in (people, who))
    kind = pa.int64() if keys == "whole" else pa.string()
    columns = (
        pa.array(who, kind),
        pa.array(range(size), pa.int64()),
        pa.array(["a"] * size, pa.string()),
    )
    events = pa.table(columns, ["subscriber", "time", "kind"])
    everyone = pa.chunked_array([people], kind)
    write_events(events, everyone, tmp_path / "x.parquet")
    with pq.ParquetFile(tmp_path / "x.parquet") as file:
        assert not any(field.nullable for field in file.schema_arrow)
        groups = [file.read_row_group(i) for i in range(file.metadata.num_row_groups)]
    number = len(groups)
    assert (number & (number - 1)) == 0 and (number == 1 or size > number // 2 * 100)
    assert pa.concat_tables(groups).to_pylist() == events.to_pylist()
    ends = ingest.pieces(len(everyone), number)
    for group, (start, stop) in zip(groups, pairwise(ends), strict=True):
        assert set(group["subscriber"].to_pylist()) <= set(everyone[start:stop].to_pylist())
    assert set(ingest.pieces(50, 4)) <= set(ingest.pieces(50, 8))


def test_a_piece_is_one_row_group_of_the_longest_table(source, tmp_path, monkeypatch):
    monkeypatch.setattr(ingest, "GROUP", 300)
    keys = pq.read_table(source / "subscribers" / NAME)["subscriber"]
    for table in ("usage", "contacts"):
        cut(source / "events" / table / NAME, "ingest", keys)
    read, rows_of = [], tables.read

    def counted(path, *options, rows=None, **more):
        frame = rows_of(path, *options, rows=rows, **more)
        read.append((path.parent.name, rows, len(frame)))
        return frame

    monkeypatch.setattr(tables, "read", counted)
    partition = Partition(Part(JOB, "pandas", source, tmp_path, NAME, 1), COLUMNS)
    groups = {t: stored.groups(source / "events" / t / NAME, "subscriber") for t in COLUMNS}
    number = partition.pieces
    assert number == max(map(len, groups.values())) == 16
    assert sum(len(people) for people, _ in partition.read(number)) == 60
    for table, own in groups.items():
        asked = [rows for name, rows, _ in read if name == table]
        assert [r.stop for r in asked] == [g.stop for g in own]  # each is read once


def test_events_of_text_keys_are_of_a_piece(source, monkeypatch):
    monkeypatch.setattr(ingest, "GROUP", 300)
    path = source / "events/usage" / NAME
    people = tables.read(source / "subscribers" / NAME, ["subscriber"])
    people["subscriber"] = people["subscriber"].map("{:06}".format).astype("str")
    tables.write(people, source / "subscribers" / NAME)
    events = tables.read(path, ["subscriber", "time"])
    events["subscriber"] = events["subscriber"].map("{:06}".format).astype("str")
    rows = pa.table({n: pa.array(events[n]) for n in events})
    rows = rows.set_column(0, "subscriber", rows["subscriber"].cast(pa.string()))
    keys = pq.read_table(source / "subscribers" / NAME)["subscriber"].cast(pa.string())
    write_events(rows, keys, path)
    partition = Partition(
        Part(JOB, "pandas", source, source, NAME, 1), {"usage": ["subscriber", "time"]}
    )
    for number in (1, partition.pieces, 7):
        pieces = list(partition.read(number))
        assert len(pieces) == number
        assert all(set(own["usage"]["subscriber"]) <= set(p["subscriber"]) for p, own in pieces)
        found = pd.concat([own["usage"] for _, own in pieces], ignore_index=True)
        pd.testing.assert_frame_equal(found, events)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ([1, 0, 2], "its events are not in ascending order of subscribers"),
        ([0, 2, 1], "its events are not in ascending order of subscribers"),
        ([0, 1, 1, 2], "its events are not in ascending order of subscribers"),
    ],
)
def test_row_groups_out_of_order_are_told(source, tmp_path, order, said):
    path = source / "events/usage" / NAME
    rows = pq.read_table(path)
    ends = [0, 1_000, 2_000, 3_000]
    parts = [rows.slice(a, b - a) for a, b in pairwise(ends)]
    with pq.ParquetWriter(path, rows.schema) as writer:
        for i in order:
            writer.write_table(parts[i])
    with pytest.raises(DataError, match=f"^{path}: {said}"):
        features(source, tmp_path / "out")


def test_columns_keep_their_types_from_piece_to_piece(tmp_path):
    whole = pd.DataFrame(
        {
            "n": [1, 2, 3],
            "tag": [None, None, b"x"],
            "kind": pd.Series([None, None, "a"], dtype="str"),
        }
    )
    path = tmp_path / "x.parquet"
    with tables.writing(path, whole) as add:
        for i in range(3):
            part = whole.iloc[i : i + 1]
            add({**dict(part.items()), "half": np.array([0.5, np.nan, -0.0])[i : i + 1]})
    rows = pq.read_table(path)
    assert rows["tag"].to_pylist() == [None, None, b"x"]
    assert rows["kind"].to_pylist() == [None, None, "a"]
    assert rows["half"].null_count == 1 and rows["half"].to_pylist() == [0.5, None, 0.0]
    assert np.signbit(rows["half"][2].as_py())
    assert [p.name for p in tmp_path.iterdir()] == ["x.parquet"]


def test_a_file_that_fails_between_pieces_is_not_there(tmp_path):
    whole = pd.DataFrame({"n": [1]})
    with pytest.raises(MemoryError), tables.writing(tmp_path / "x.parquet", whole) as add:
        add({"n": whole["n"]})
        raise MemoryError
    assert list(tmp_path.iterdir()) == []


def test_what_fails_first_is_told_where_a_file_cannot_be_closed(tmp_path):
    like = pd.DataFrame({"n": [1.0, 2.0]})
    with (
        pytest.raises(MemoryError, match="first"),
        arrow.Writer(tmp_path / "x.parquet", like) as writer,
    ):
        writer.add({"n": np.array([1.0])})
        writer._write()
        writer._open.callback(raised, OSError("later"))
        raise MemoryError("first")


def raised(error):
    raise error

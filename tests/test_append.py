"""Files that are appended are all that is read: the same bits as from scratch."""

from datetime import timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ingest import order_events
from engine.merge import merge_events
from jobs import earlier, ingest, shuffle
from jobs.manifest import input_hashes
from jobs.stages import STORE, fingerprints, run_stages
from jobs.tasks import SerialTasks
from tests.ingested import AS_OF, arrow_type, job_of
from tests.test_ingest import as_written, raw_rows, write_inputs

SCHEMA = arrow_type("epoch", "whole")
DAY_S = 86_400


def made(job, last="ingest"):
    """Run a job's stages; return the last one's folder and its summary."""
    prints = fingerprints(job, input_hashes(job))
    tasks = SerialTasks()
    stage = run_stages(job, last, prints, tasks, say=lambda text: None)[last]
    return stage.folder, stage.summary


def content(folder):
    """Return all files of a result by name; its record names files and counts alone."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "stage.json"
    }


def told(summary):
    return {name: value for name, value in summary.items() if name != "files"}


def at(job, folder, instant=AS_OF):
    """Return the job with another output folder and as-of instant."""
    return job.model_copy(update={"output": folder, "as_of": instant})


def is_as_from_scratch(job, root, instant=AS_OF):
    """Compare a result of these inputs with one that knows none before; return its files."""
    folder, summary = made(at(job, root / "runs", instant))
    fresh, expected = made(at(job, root / f"fresh-{summary['files']}", instant))
    assert expected["files"]["reused"] == 0
    assert told(summary) == told(expected)
    assert content(folder) == content(fresh)
    return summary["files"]


def add(folder, name, rows, schema=SCHEMA):
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / name)


@settings(max_examples=25)
@given(drawn=raw_rows(), seed=st.integers(0, 2**32 - 1), cuts=st.integers(2, 4))
def test_appended_files_give_the_bits_of_all_at_once(drawn, seed, cuts, tmp_path_factory):
    keys, times, rows = drawn
    root = tmp_path_factory.mktemp("append")
    schema = arrow_type(times, keys)
    shuffled = np.random.default_rng(seed).permutation(
        np.array([as_written(row, times) for row in rows], dtype=object)
    )
    first, *days = [list(part) for part in np.array_split(shuffled, cuts)]
    write_inputs(root / "in", keys, schema, [first])
    job = job_of(root / "in")
    made(at(job, root / "runs"))
    for number, day in enumerate(days):
        add(root / "in", f"usage-day{number}.parquet", day, schema)
        files = is_as_from_scratch(job, root)
        assert files["new"] == 1 and files["reused"] >= 1


def usage(who, time, mb=1.0, kind="a"):
    return {"who": who, "at": int(time), "mb": mb, "drift": 0.0, "kind": kind}


NOON = AS_OF.timestamp() - DAY_S / 2


@pytest.fixture
def job(tmp_path):
    """A job whose first file has two events before the as-of instant and two after it."""
    rows = [usage(1, NOON), usage(2, NOON), usage(1, NOON + DAY_S), usage(3, NOON + DAY_S)]
    write_inputs(tmp_path / "in", "whole", SCHEMA, [])
    add(tmp_path / "in", "usage-0.parquet", rows)
    job = job_of(tmp_path / "in")
    made(at(job, tmp_path / "runs"))
    return job


def test_late_rows_and_rows_of_one_instant_find_their_place(job, tmp_path):
    late = [
        usage(1, NOON - 9 * DAY_S),
        usage(2, NOON, kind=""),
        usage(1, NOON, 0.5),
        usage(1, NOON),
    ]
    add(tmp_path / "in", "usage-1.parquet", late)
    assert is_as_from_scratch(job, tmp_path) == {"new": 1, "reused": 1}
    folder, _ = made(at(job, tmp_path / "runs"))
    rows = pa.concat_tables(pq.read_table(p) for p in sorted(folder.glob("events/usage/*")))
    own = rows.filter(pa.compute.equal(rows["subscriber"], 1))
    assert own["mb"].to_pylist() == [1.0, 0.5, 1.0, 1.0]


def test_what_was_future_counts_when_its_day_has_come(job, tmp_path):
    add(tmp_path / "in", "usage-1.parquet", [usage(5, NOON), usage(5, NOON + 9 * DAY_S)])
    assert is_as_from_scratch(job, tmp_path) == {"new": 1, "reused": 1}
    tomorrow = AS_OF + timedelta(days=1)
    assert is_as_from_scratch(job, tmp_path, tomorrow) == {"new": 0, "reused": 2}
    _, summary = made(at(job, tmp_path / "runs", tomorrow))
    assert summary["tables"]["usage"] == {
        "rows": 6, "kept": 4, "future": 1, "rejected": {"unknown subscriber": 1},
    }  # fmt: skip


def test_only_the_new_files_are_read(job, tmp_path, monkeypatch):
    add(tmp_path / "in", "usage-1.parquet", [usage(7, NOON)])
    read, scattered = [], shuffle.scatter_events

    def scatter_events(item):
        read.append(item.chunk.file.name)
        return scattered(item)

    monkeypatch.setattr("jobs.ingest.scatter_events", scatter_events)
    (before,) = (tmp_path / "runs" / STORE).glob("ingest-*")
    folder, _ = made(at(job, tmp_path / "runs"))
    assert read == ["usage-1.parquet"]
    same = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.parquet")
        if (old := before / path.relative_to(folder)).exists() and old.samefile(path)
    ]
    parts = len(list(folder.glob("subscribers/*")))
    assert sum(name.startswith("subscribers/") for name in same) == parts
    assert sum(name.startswith("events/") for name in same) >= parts - 1


def other_people(root, job):
    pq.write_table(pa.table({"id": [1, 3], "rank": [0, 1]}), root / "in" / "people.parquet")
    return job


def other_partitions(root, job):
    return job.model_copy(update={"inputs": job.inputs.model_copy(update={"partitions": 2})})


def other_minimum(root, job):
    return job_of(root / "in", events={"usage": {
        **job.inputs.events["usage"].model_dump(), "values": {"mb": {"unit": "MB", "minimum": 9}}
    }})  # fmt: skip


def other_row(root, job):
    add(root / "in", "usage-0.parquet", [usage(1, NOON, mb=7.0)])
    return job


def no_old_file(root, job):
    (root / "in" / "usage-0.parquet").unlink()
    return job


@pytest.mark.parametrize(
    "change", [other_people, other_partitions, other_minimum, other_row, no_old_file]
)
def test_what_else_differs_is_ingested_from_scratch(job, tmp_path, change):
    add(tmp_path / "in", "usage-1.parquet", [usage(1, NOON), usage(3, NOON)])
    assert is_as_from_scratch(change(tmp_path, job), tmp_path)["reused"] == 0


def test_what_has_not_changed_beside_a_table_or_a_list_that_has_is_not_read_again(
    tmp_path, monkeypatch
):
    write_inputs(tmp_path / "in", "whole", SCHEMA, [])
    for name in ("usage-0", "usage-1", "calls-0", "calls-1"):
        rows = [usage(1, NOON), usage(2, NOON + DAY_S), usage(99, NOON), usage(3, NOON - 1)]
        add(tmp_path / "in", f"{name}.parquet", rows)
    table = {"key": "who", "time": "at", "values": {"mb": {"unit": "MB"}}, "categories": ["kind"]}
    events = {name: {**table, "path": f"{name}*"} for name in ("usage", "calls")}
    listed = pa.table({"who": pa.array([1], pa.int32())})
    pq.write_table(listed, tmp_path / "in" / "stop.parquet")
    lists = {"stop": {"path": "stop*", "key": "who"}}
    job = job_of(tmp_path / "in", events=events, lists=lists)
    made(at(job, tmp_path / "runs"))
    scattered = []
    for name in ("events", "subscribers"):
        work = getattr(shuffle, f"scatter_{name}")

        def noted(item, work=work):
            scattered.append(item.chunk.file.name)
            return work(item)

        monkeypatch.setattr(f"jobs.ingest.scatter_{name}", noted)

    def read(instant=AS_OF):
        scattered.clear()
        made(at(job, tmp_path / "runs", instant))
        names = sorted(scattered)
        return names, is_as_from_scratch(job, tmp_path, instant)

    add(tmp_path / "in", "calls-1.parquet", [usage(2, NOON, mb=7.0)])
    assert read() == (["calls-0.parquet", "calls-1.parquet"], {"new": 2, "reused": 2})
    pq.write_table(listed.slice(1), tmp_path / "in" / "stop.parquet")
    assert read() == (["people.parquet"], {"new": 0, "reused": 4})
    (tmp_path / "in" / "calls-0.parquet").unlink()
    for name in ("usage-2.parquet", "usage-3.parquet"):
        add(tmp_path / "in", name, [usage(1, NOON)])
    expected = ["calls-1.parquet", "usage-2.parquet", "usage-3.parquet"]
    assert read(AS_OF + timedelta(days=1)) == (expected, {"new": 3, "reused": 2})


def test_an_earlier_instant_and_other_code_are_ingested_from_scratch(job, tmp_path, monkeypatch):
    assert is_as_from_scratch(job, tmp_path, AS_OF - timedelta(days=1))["reused"] == 0
    add(tmp_path / "in", "usage-1.parquet", [usage(1, NOON)])
    monkeypatch.setattr(earlier, "version", lambda: "another")
    assert is_as_from_scratch(job, tmp_path)["reused"] == 0


def test_a_file_that_comes_while_others_are_looked_at_is_not_taken_for_read(
    job, tmp_path, monkeypatch
):
    add(tmp_path / "in", "usage-1.parquet", [usage(1, NOON)])
    look = ingest.inspect

    def inspect(own):
        found = look(own)
        add(tmp_path / "in", "usage-2.parquet", [usage(1, NOON, mb=5.0)])
        return found

    with monkeypatch.context() as patched:
        patched.setattr(ingest, "inspect", inspect)
        made(at(job, tmp_path / "runs"))
    assert is_as_from_scratch(job, tmp_path) == {"new": 1, "reused": 2}


def test_a_damaged_result_spares_nothing(job, tmp_path):
    (before,) = (tmp_path / "runs" / STORE).glob("ingest-*")
    add(tmp_path / "in", "usage-1.parquet", [usage(1, NOON)])
    next(before.glob("events/usage/*")).write_bytes(b"")
    assert is_as_from_scratch(job, tmp_path)["reused"] == 0


@pytest.mark.parametrize("gone", ["subscribers", "events", "future", "rejects", "."])
def test_a_result_deleted_meanwhile_is_done_without(job, tmp_path, monkeypatch, gone):
    find = ingest.earlier

    def found(own, store):
        before = find(own, store)
        if before.folder is not None:
            for path in (before.folder / gone).rglob("*.parquet"):
                path.unlink()
        return before

    add(tmp_path / "in", "usage-1.parquet", [usage(1, NOON), usage(99, NOON)])
    monkeypatch.setattr(ingest, "earlier", found)
    tomorrow = AS_OF + timedelta(days=1)
    assert is_as_from_scratch(job, tmp_path, tomorrow) == {"new": 2, "reused": 0}


def test_an_error_of_the_disk_beside_a_whole_result_is_told(job, tmp_path, monkeypatch):
    def fails(item):
        raise OSError("no disk")

    add(tmp_path / "in", "usage-1.parquet", [usage(1, NOON)])
    monkeypatch.setattr("jobs.ingest.gather_events", fails)
    with pytest.raises(OSError, match="no disk"):
        made(at(job, tmp_path / "runs"))


def test_a_part_whose_copy_was_cut_short_is_copied_again(tmp_path, monkeypatch):
    def no_links(source, target):
        raise OSError("no links here")

    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"whole")

    def cut_short(source, target):
        target.write_bytes(b"wh")
        raise OSError("cut short")

    with monkeypatch.context() as patched:
        patched.setattr(earlier.os, "link", no_links)
        patched.setattr(earlier.shutil, "copyfile", cut_short)
        with pytest.raises(OSError, match="cut short"):
            earlier.take(source, target)
    assert not target.exists()
    for _ in range(2):  # a task may be run again
        earlier.take(source, target)
        assert target.read_bytes() == b"whole"
    assert len(list(tmp_path.glob(".target.*.tmp"))) == 1  # what was cut short


def test_a_result_stays_whole_when_those_before_it_are_deleted(job, tmp_path):
    add(tmp_path / "in", "usage-1.parquet", [usage(1, NOON)])
    (before,) = (tmp_path / "runs" / STORE).glob("ingest-*")
    folder, _ = made(at(job, tmp_path / "runs"))
    expected = content(folder)
    for path in before.rglob("*.*"):
        path.unlink()
    assert content(folder) == expected


def test_features_after_an_append_are_those_from_scratch(job, tmp_path):
    feature = {"op": "sum", "name": "mb", "of": "usage.mb", "windows": ["1d", "30d"]}
    featured = type(job).model_validate({**job.model_dump(), "features": [feature]})
    add(tmp_path / "in", "usage-1.parquet", [usage(1, NOON, mb=0.1), usage(1, NOON - 1, mb=0.2)])
    found = [made(at(featured, tmp_path / name), "profile")[0] for name in ("runs", "fresh")]
    parts = [content(folder / "features") for folder in found]
    assert parts[0] == parts[1]


@st.composite
def events(draw, most=12):
    row = st.tuples(*(st.integers(0, 2) for _ in range(3)), st.sampled_from(["", "a"]))
    rows = draw(st.lists(row, max_size=most))
    names = ("subscriber", "time", "value", "kind")
    columns = zip(names, zip(*rows, strict=True) if rows else [()] * 4, strict=True)
    kinds = (pa.int64(), pa.int64(), pa.float64(), pa.string())
    return pa.table(dict(columns), schema=pa.schema(zip(names, kinds, strict=True)))


@given(events(), events())
def test_a_merge_is_the_order_of_all(old, new):
    people = pa.chunked_array([pa.array([0, 1, 2])])

    def ordered(rows):
        count = len(rows)
        places = {"__row": pa.array(range(count)), "__file": pa.array([0] * count, pa.int32())}
        for name, column in places.items():
            rows = rows.append_column(name, column)
        return order_events(rows, people)[0]

    merged = partial(merge_events, subscribers=people)
    assert merged(ordered(old), ordered(new)).equals(ordered(pa.concat_tables([old, new])))


def test_instants_at_the_ends_of_the_range_are_told_apart():
    people = pa.chunked_array([pa.array([0, 1])])
    old = pa.table({"subscriber": [0, 1], "time": [7_258_118_399, -8_520_336_000]})
    new = pa.table({"subscriber": [0, 1], "time": [-8_520_336_000, 7_258_118_399]})
    merged = merge_events(old, new, people)
    assert merged["subscriber"].to_pylist() == [0, 0, 1, 1]
    assert merged["time"].to_pylist() == sorted(merged["time"].to_pylist()[:2]) * 2

"""Households in stage ``ingest``: members are in one partition, and all their rows with them."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import placing, tables
from engine.errors import DataError
from jobs import households, raw
from jobs.certify import Deal, deal_out
from jobs.check import check
from jobs.ledger import book, events, snapshot
from jobs.partition import Part, Partition
from jobs.stages import STORE
from tests.ingested import content, error_of, job_of, parts_of, run, usage_table
from tests.ledgers import DAY, outcomes_file, planned
from tests.test_append import NOON, at, is_as_from_scratch, made
from tests.test_ledger_input import ingested, job_in

TABLE = {"path": "people*", "key": "id", "household": "home"}
PARTITIONS = 4
TIMES = [1_790_000_000 + k for k in range(4)]
USAGE = pa.schema(
    {"at": pa.int64(), "mb": pa.float64(), "drift": pa.float64(), "kind": pa.string()}
)


def key_of(number, kind):
    return number if kind == "whole" else f"s{number}"


@st.composite
def operators(draw):
    """Draw subscribers with households, their events, and those of others."""
    kind, home = draw(st.sampled_from(["whole", "text"])), draw(st.sampled_from(["whole", "text"]))
    homes = [None, None, 0, -7, 2**53 + 1, 2**53 + 3, 5]
    homes = homes if home == "whole" else [None, "", "a", "7", "Müller", "b"]
    numbers = draw(st.lists(st.integers(-50, 50), unique=True, max_size=25))
    people = [(key_of(n, kind), draw(st.sampled_from(homes))) for n in numbers]
    who = st.sampled_from([*(key for key, _ in people), *(key_of(n, kind) for n in (77, 78))])
    events = draw(
        st.lists(st.tuples(who, st.sampled_from(TIMES), st.sampled_from("ab")), max_size=30)
    )
    return kind, home, people, events


def people_table(people, kind, home):
    kinds = {"whole": pa.int64(), "text": pa.string()}
    keys, homes = (list(column) for column in zip(*people, strict=True)) if people else ([], [])
    return pa.table(
        {
            "id": pa.array(keys, kinds[kind]),
            "home": pa.array(homes, kinds[home]),
            "rank": pa.array(range(len(keys)), pa.int64()),
        }
    )


def usage_of(events, kind):
    who = pa.array([e[0] for e in events], pa.int64() if kind == "whole" else pa.string())
    columns = [[e[1] for e in events], [1.0] * len(events), [0.0] * len(events)]
    rest = pa.table([*columns, [e[2] for e in events]], schema=USAGE)
    return rest.add_column(0, "who", who)


def write(table, path):
    if path.suffix == ".csv":
        csv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=3)


def written(folder, drawn, suffix="parquet", pieces=1, listed=()):
    """Write an operator; return the job over it."""
    kind, home, people, events = drawn
    folder.mkdir(parents=True)
    for i, part in enumerate(np.array_split(np.arange(len(people)), pieces)):
        some = [people[k] for k in part]
        write(people_table(some, kind, home), folder / f"people{i}.{suffix}")
    for i, part in enumerate(np.array_split(np.arange(len(events)), pieces)):
        write(usage_of([events[k] for k in part], kind), folder / f"usage{i}.{suffix}")
    stop = pa.array(list(listed), pa.int64() if kind == "whole" else pa.string())
    write(pa.table({"who": stop}), folder / f"stop.{suffix}")
    lists = {"stop": {"path": "stop*", "key": "who"}}
    return job_of(folder, subscribers=TABLE, partitions=PARTITIONS, lists=lists)


def elsewhere(place):
    """Return a household that is not in this partition."""
    return next(home for home in "abcdefgh" if partition_of(None, home) != place)


def partition_of(key, home):
    """Return the partition of a subscriber: the plain definition."""
    word = key if home in (None, "") else str(home)
    return int(tables.bucket(pd.Series([word]), PARTITIONS)[0])


@settings(max_examples=60)
@given(drawn=operators(), suffix=st.sampled_from(["parquet", "csv"]), pieces=st.integers(1, 3))
def test_definition(drawn, suffix, pieces, tmp_path_factory):
    kind, _, people, events = drawn
    listed = [key for key, _ in people[::2]] + [key_of(78, kind)]
    job = written(tmp_path_factory.mktemp("homes") / "in", drawn, suffix, pieces, listed)
    if suffix == "csv" and not people:
        return  # keys without a row have no type
    out, summary = run(job)
    where = {key: partition_of(key, home) for key, home in people}
    home_of = {key: None if home in (None, "") else str(home) for key, home in people}
    found = parts_of(out, "subscribers")
    for number, part in enumerate(found):
        own = sorted(key for key, place in where.items() if place == number)
        assert part["subscriber"].to_pylist() == own
        assert part["home"].to_pylist() == [home_of[key] for key in own]
        assert part["home"].type == pa.string()
        assert part["stop"].to_pylist() == [key in listed for key in own]
        wanted = Part(job, "pandas", out, out, f"part-{number:05}.parquet", PARTITIONS)
        assert len(Partition(wanted, {}).subscribers) == len(own)
    for number, part in enumerate(parts_of(out, "events/usage")):
        own = sorted((e[0], e[1], 1.0, 0.0, e[2]) for e in events if where.get(e[0]) == number)
        assert list(zip(*part.to_pydict().values(), strict=True)) == own
    strangers = sum(e[0] not in where for e in events)
    rejected = {"unknown subscriber": strangers} if strangers else {}
    assert summary["tables"]["usage"]["rejected"] == rejected


@settings(max_examples=25)
@given(
    drawn=operators(),
    pieces=st.integers(1, 4),
    rows=st.sampled_from([1, 4, 10**6]),
    random=st.randoms(),
)
def test_same_bits_for_any_order_and_split_of_rows(drawn, pieces, rows, random, tmp_path_factory):
    root = tmp_path_factory.mktemp("bits")
    kind, home, people, events = drawn
    results = []
    for name, cut, most in (("one", 1, 10**6), ("many", pieces, rows)):
        job = written(root / name, (kind, home, people, events), pieces=cut)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(raw, "ROWS", most)
            patched.setattr(households, "RANGE", most)
            out, _ = run(job)
        lines = [part.drop_columns("rank") for part in parts_of(out, "subscribers")]
        events_ = {n: b for n, b in content(out).items() if n.startswith("events")}
        found = [(out / households.FOLDER / file).read_bytes() for file in households.FILES]
        results.append((lines, events_, found))
        random.shuffle(people)
        random.shuffle(events)
    assert results[0] == results[1]
    assert len(people) == sum(map(len, results[0][0]))


def test_the_table_has_those_who_are_elsewhere_in_order(tmp_path, monkeypatch):
    rng = np.random.default_rng(4)
    people = [(k, int(h) if h < 300 else None) for k, h in enumerate(rng.integers(0, 900, 2_000))]
    job = written(tmp_path / "in", ("whole", "whole", people, []))
    monkeypatch.setattr(households, "RANGE", 100)
    out, _ = run(job)
    moved = households.moved(households.place(job, out))
    away = {k: partition_of(k, h) for k, h in people if partition_of(k, h) != partition_of(k, None)}
    order = np.argsort(tables.words(np.array(sorted(away))))
    keys = np.array(sorted(away))[order]
    assert (np.asarray(moved.word) == tables.words(keys)).all()
    assert moved.partition.tolist() == [away[k] for k in keys]
    everyone = np.arange(3_000)
    expected = [away.get(k, partition_of(k, None)) for k in everyone.tolist()]
    assert placing.of_keys(everyone, moved, PARTITIONS).tolist() == expected


def test_without_the_setting_a_column_of_households_is_any_column(tmp_path):
    people = [(k, k % 3) for k in range(20)]
    job = written(tmp_path / "in", ("whole", "whole", people, []))
    inputs = job.inputs.model_copy(
        update={"subscribers": job.inputs.subscribers.model_copy(update={"household": None})}
    )
    out, _ = run(job.model_copy(update={"inputs": inputs}))
    assert not (out / households.FOLDER).exists()
    for number, part in enumerate(parts_of(out, "subscribers")):
        assert part["home"].type == pa.int64()
        assert {partition_of(k, None) for k in part["subscriber"].to_pylist()} <= {number}


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_texts_that_are_written_in_another_way_are_one_household(tmp_path, suffix):
    """CSV has text, another file whole numbers or a dictionary: 7 is 7."""
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"id": [1], "home": pa.array([7], pa.uint8())}),
                   tmp_path / "in" / "people0.parquet")  # fmt: skip
    more = pa.table({"id": [2, 3], "home": ["7", ""]})
    if suffix == "parquet":
        more = more.set_column(1, "home", more["home"].dictionary_encode())
    write(more, tmp_path / "in" / f"people1.{suffix}")
    out, _ = run(job_of(tmp_path / "in", subscribers=TABLE, events={}, partitions=50))
    rows = pa.concat_tables(parts_of(out, "subscribers")).sort_by("subscriber")
    assert rows.to_pydict() == {"subscriber": [1, 2, 3], "home": ["7", "7", None]}
    assert sum(len(part) > 0 for part in parts_of(out, "subscribers")) == 2


@pytest.mark.parametrize(
    ("people", "line"),
    [
        ({}, "IN/people0.parquet: the column home is missing; the columns are id"),
        ({"home": [1.5, None]},
         "IN/people0.parquet: column home (household) has the type double; allowed is whole number "
         "or text"),
        ({"home": [True, False]},
         "IN/people0.parquet: column home (household) has the type bool; allowed is whole number "
         "or text"),
        ({"home": pa.array([b"a", b"b"])},
         "IN/people0.parquet: column home (household) has the type binary; allowed is whole number "
         "or text"),
    ],
    ids=["missing", "number", "boolean", "bytes"],
)  # fmt: skip
def test_a_column_that_is_missing_or_of_another_type_is_named(tmp_path, people, line):
    table = pa.table({"id": [1, 2], **people})
    assert error_of(tmp_path, [usage_table()], table, subscribers=TABLE) == [line]
    found = check(job_of(tmp_path, subscribers=TABLE)).problems
    assert line.replace("IN", str(tmp_path)) in found


def test_the_key_is_no_household(tmp_path):
    asked = {**TABLE, "household": "id"}
    (line,) = error_of(tmp_path, [usage_table()], subscribers=asked)
    assert line == "inputs.subscribers.household: is the key, got id; name another column"


def test_a_column_without_a_household_is_fine(tmp_path):
    people = pa.table({"id": range(9), "home": pa.nulls(9)})
    (tmp_path / "in").mkdir()
    pq.write_table(people, tmp_path / "in" / "people.parquet")
    job = job_of(tmp_path / "in", subscribers=TABLE, events={})
    out, _ = run(job)
    assert sum(map(len, parts_of(out, "subscribers"))) == 9
    assert len(households.moved(households.place(job, out)).word) == 0


@pytest.mark.parametrize("homes", [[1, 2], [1, None], [1, 1]])
def test_a_key_that_is_there_twice_is_named_wherever_its_rows_are(tmp_path, homes):
    people = pa.table({"id": [1, 2, *range(3, 30), 1], "home": [homes[0], *[3] * 28, homes[1]]})
    assert error_of(tmp_path, [usage_table()], people, subscribers=TABLE) == [
        "inputs.subscribers: 1 keys of column id occur more than once, such as 1; "
        "there should be one row per subscriber"
    ]


def test_text_keys_with_one_hash_are_refused_where_one_is_elsewhere(tmp_path, monkeypatch):
    words = tables.words

    def clash(keys):
        texts = pd.Series(np.asarray(keys, object)).replace("s2", "s1")
        return words(texts)

    monkeypatch.setattr(tables, "words", clash)
    people = [("s1", elsewhere(partition_of("s1", None))), ("s2", None), ("s3", None)]
    job = written(tmp_path / "in", ("text", "text", people, []))
    with pytest.raises(DataError, match="the keys s1 and s2 have one hash, and one is of a house"):
        run(job)
    alone = [(key, None) for key, _ in people]
    run(written(tmp_path / "alone", ("text", "text", alone, [])))


def test_a_subscriber_of_another_partition_is_refused(tmp_path):
    people = [(k, k % 7) for k in range(40)]
    job = written(tmp_path / "in", ("whole", "whole", people, []))
    out, _ = run(job)
    name = "part-00001.parquet"
    rows = tables.read(out / "subscribers" / name)
    (out / "stage.json").write_text("{}")
    tables.write(rows.assign(home=elsewhere(1)), out / "subscribers" / name)
    with pytest.raises(DataError, match=f"{name}: subscriber .* is of another partition"):
        Partition(Part(job, "pandas", out, out, name, PARTITIONS), {})


def test_written_allocations_are_dealt_to_the_partitions_of_their_subscribers(tmp_path):
    people = [(k, k % 7 if k % 3 else None) for k in range(60)]
    job = written(tmp_path / "in", ("whole", "whole", people, []))
    out, _ = run(job)
    rows = pd.DataFrame({"subscriber": [k for k, _ in people] * 2, "offer": "boost"})
    (tmp_path / "dealt").mkdir()
    for partition in range(PARTITIONS):
        (tmp_path / "dealt" / str(partition)).mkdir()
    tables.write(rows, tmp_path / "rows.parquet")
    deal = Deal(tmp_path / "rows.parquet", tmp_path / "dealt", PARTITIONS)
    deal_out(replace(deal, moved=households.place(job, out)))
    for number, part in enumerate(parts_of(out, "subscribers")):
        found = pd.read_parquet(tmp_path / "dealt" / str(number) / "rows.parquet")
        assert set(found["subscriber"]) == set(part["subscriber"].to_pylist())
    table = out / households.FOLDER / households.FILES[0]
    (out / "stage.json").write_text("{}")
    table.write_bytes(table.read_bytes()[:5])
    with pytest.raises(DataError, match=f"{table}: cannot be read: .*delete the folder {out}"):
        deal_out(replace(deal, moved=households.place(job, out)))


@pytest.fixture
def operator(tmp_path):
    """A job that was ingested, with events of members, of others and of strangers."""
    people = [(k, k % 5 if k % 2 else None) for k in range(30)]
    events = [(k % 33, int(NOON) + k, "a") for k in range(60)]
    job = written(tmp_path / "in", ("whole", "whole", people, events), listed=[1, 2, 3])
    made(at(job, tmp_path / "runs"))
    return job, people


def test_appended_files_give_the_bits_of_all_at_once(operator, tmp_path):
    job, _ = operator
    later = [(k % 33, int(NOON) - 9 + k, "b") for k in range(40)]
    write(usage_of(later, "whole"), tmp_path / "in" / "usage9.parquet")
    assert is_as_from_scratch(job, tmp_path) == {"new": 1, "reused": 1}
    write(pa.table({"who": [7, 8]}), tmp_path / "in" / "stop.parquet")
    assert is_as_from_scratch(job, tmp_path) == {"new": 0, "reused": 2}


def test_other_households_are_ingested_from_scratch(operator, tmp_path):
    job, people = operator
    others = people_table([(k, 1 if k == 2 else home) for k, home in people], "whole", "whole")
    write(others, tmp_path / "in" / "people0.parquet")
    assert is_as_from_scratch(job, tmp_path)["reused"] == 0


def test_a_table_of_households_that_is_lost_is_made_again(operator, tmp_path):
    job, _ = operator
    (before,) = (tmp_path / "runs" / STORE).glob("ingest-*")
    (before / households.FOLDER / households.FILES[1]).unlink()
    assert is_as_from_scratch(job, tmp_path)["new"] == 1
    listed = json.loads((before / "stage.json").read_text())["files"]
    assert {f"{households.FOLDER}/{name}" for name in households.FILES} <= set(listed)


@pytest.fixture
def home(tmp_path):
    """Return a folder with 60 subscribers in households, and a ledger that knows others too."""
    lines = [f"{k},{k % 7 if k % 3 else ''}" for k in range(60)]
    (tmp_path / "subscribers.csv").write_text("\n".join(["subscriber,home", *lines]) + "\n")
    for day in (0, 1, 5):
        rows = [(k, "data", "sms") for k in range(day, 70, 2)]
        as_of = DAY + timedelta(days=day)
        booked = planned(tmp_path / f"r{day}", tmp_path / "ledger", rows, as_of=as_of, policies="")
        book.book(booked, tmp_path / "ledger")
    answers = [(k, "2026-10-02T10:00Z", "data", "sms", "accepted") for k in range(0, 60, 2)]
    events.add_outcomes(outcomes_file(tmp_path / "answers.csv", answers), tmp_path / "ledger")
    return tmp_path


def test_the_ledger_follows_its_subscribers(home):
    changes = {"inputs.partitions": PARTITIONS, "inputs.subscribers.household": "home"}
    job = snapshot.pinned(job_in(home, f"ledger: {home / 'ledger'}", **changes))
    summary, _ = ingested(job, home / "out")
    found = summary["tables"]
    assert found["contacts"]["kept"] == 60 and found["contacts"]["future"] > 0
    assert found["contacts"]["rejected"] == {"unknown subscriber": 10}
    assert found["outcomes"]["kept"] == 30
    where = {k: partition_of(k, k % 7 if k % 3 else None) for k in range(60)}
    for kind in ("events/contacts", "events/outcomes", "future/contacts"):
        for path in (home / "out" / kind).glob("*.parquet"):
            place = int(path.stem.removeprefix("part-"))
            own = pq.read_table(path)["subscriber"].to_pylist()
            assert {where.get(k, partition_of(k, None)) for k in own} <= {place}

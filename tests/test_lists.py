"""Lists of subscribers: a boolean column each, whether they are on it."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError
from engine.settings.policies import ContactPolicy
from jobs.check import check
from jobs.manifest import input_hashes
from jobs.stages import fingerprints
from tests.ingested import job_of, run

LISTS = {"stop": {"path": "stop*", "key": "who"}}


def wrote(folder, people, stop, *, csv=False):
    """Write subscribers and a list of keys; return the job over them."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("stop*"):
        old.unlink()
    pq.write_table(pa.table({"id": people}), folder / "people.parquet")
    if csv:
        (folder / "stop.csv").write_text("who,why\n" + "".join(f"{k},asked\n" for k in stop))
    else:
        kind = pa.string() if isinstance(people[0], str) else pa.int64()
        pq.write_table(pa.table({"who": pa.array(stop, kind)}), folder / "stop.parquet")
    return job_of(folder, events={}, lists=LISTS)


def on_the_list(folder):
    rows = [pq.read_table(path) for path in sorted((folder / "subscribers").glob("*.parquet"))]
    table = pa.concat_tables(rows)
    return {key for key, on in zip(*(table[n].to_pylist() for n in ("subscriber", "stop")),
                                   strict=True) if on}  # fmt: skip


@settings(max_examples=20)
@given(st.sets(st.integers(-5, 30), min_size=1), st.lists(st.integers(-10, 40)), st.booleans(),
       st.booleans())  # fmt: skip
def test_who_is_on_it(tmp_path_factory, people, stop, csv, text):
    named = (lambda key: f"s{key}") if text else int
    folder = tmp_path_factory.mktemp("lists")
    keys = [named(p) for p in sorted(people)]
    out, _ = run(wrote(folder, keys, [named(k) for k in stop], csv=csv))
    assert on_the_list(out) == {named(k) for k in people & set(stop)}


def test_another_list_is_another_ingest(tmp_path):
    job = wrote(tmp_path / "in", [1, 2, 3], [1])
    before = fingerprints(job, input_hashes(job))["ingest"]
    assert fingerprints(job, input_hashes(job))["ingest"] == before
    job = wrote(tmp_path / "in", [1, 2, 3], [2])
    assert fingerprints(job, input_hashes(job))["ingest"] != before


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        (pa.table({"no": [1]}), "the column who is missing; the columns are no"),
        (pa.table({"who": ["a"]}), "column who .key. is text, but the key of the subscriber table"),
        (pa.table({"who": pa.array([1, None], pa.int64())}),
         "column who .key.: 1 are null or no whole number, the first None in row 1"),
    ],
)  # fmt: skip
def test_a_broken_list_is_named(stop, message, tmp_path):
    job = wrote(tmp_path / "in", [1, 2], [1])
    pq.write_table(stop, tmp_path / "in" / "stop.parquet")
    with pytest.raises(DataError, match=f"stop.parquet: {message}"):
        run(job)


def test_its_name_may_be_no_column_of_the_table(tmp_path):
    job = wrote(tmp_path / "in", [1, 2], [1])
    pq.write_table(pa.table({"id": [1], "stop": [True]}), tmp_path / "in" / "people.parquet")
    with pytest.raises(DataError, match="inputs.lists.stop: the subscriber table has a column"):
        run(job)


def test_conditions_may_speak_of_it(tmp_path):
    job = wrote(tmp_path / "in", [1, 2], [1])
    policies = [ContactPolicy(name=sql, suppress=sql) for sql in ("stop", "start")]
    found = check(job.model_copy(update={"policies": policies})).problems
    (wrong,) = [problem for problem in found if problem.startswith("policies.")]
    assert wrong.startswith("policies.start.suppress: unknown column start")
    assert wrong.endswith("there are stop, subscriber")
    pq.write_table(pa.table({"no": [1]}), tmp_path / "in" / "stop.parquet")
    broken = check(job.model_copy(update={"policies": policies})).problems
    assert any("stop.parquet: the column who is missing" in problem for problem in broken)
    assert wrong in broken and set(found) < set(broken)

"""Memory is predicted from metadata and reported; where it runs out, partitions are halved."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from engine import tables
from engine.errors import ConfigError
from engine.settings.job import LocalCluster
from jobs import memory
from jobs import profile as stage
from jobs.cluster import cluster
from jobs.memory import KERNELS, Memory, here, predicted, sized
from jobs.progress import ShownTasks, Silent
from jobs.tasks import SerialTasks
from tests.profiled import JOB
from tests.test_profile_stage import big_partition, ingested

PARTITIONS = 3
ONE = JOB.model_copy(update={"inputs": JOB.inputs.model_copy(update={"partitions": PARTITIONS})})


class Told(SerialTasks):
    """Tasks that remember what they were told."""

    def __init__(self):
        self.lines = []

    def tell(self, label, **figures):
        self.lines.append((label, figures))


@pytest.fixture
def source(tmp_path):
    """An ingest folder of three partitions, every subscriber in its own."""
    return ingested(tmp_path / "in", *big_partition(60, 3_000), PARTITIONS)


def run(source, folder, tasks):
    folder.mkdir()
    summary = stage.profile(ONE, source, folder, tasks)
    files = {p.name: p for p in sorted((folder / "features").iterdir())}
    return summary, {name: tables.read(path) for name, path in files.items()}


def bounded(monkeypatch, most):
    """Let profiling run out of memory where there are more subscribers than this at once."""
    whole = stage.engine_profile.profile_columns
    sizes = []

    def profile_columns(job, subscribers, events, fitted):
        sizes.append(len(subscribers))
        if len(subscribers) > most:
            raise MemoryError
        return whole(job, subscribers, events, fitted)

    monkeypatch.setattr(stage.engine_profile, "profile_columns", profile_columns)
    monkeypatch.setattr(stage, "LEAST", 2)
    return sizes


@pytest.mark.parametrize("most", [3, 7, 12])
def test_a_partition_that_does_not_fit_is_halved_with_the_same_bits(
    source, tmp_path, monkeypatch, most
):
    _, expected = run(source, tmp_path / "whole", SerialTasks())
    sizes, tasks = bounded(monkeypatch, most), Told()
    summary, found = run(source, tmp_path / "halved", tasks)
    assert list(found) == list(expected)
    for name, frame in found.items():
        pd.testing.assert_frame_equal(frame, expected[name], check_exact=True)
    pieces = summary["in_pieces"]
    rows = {name.removesuffix(".parquet"): len(frame) for name, frame in expected.items()}
    assert set(pieces) == {name for name, n in rows.items() if n > most}
    for name, count in pieces.items():
        assert math.ceil(rows[name] / count) <= most < math.ceil(2 * rows[name] / count)
        label = f"partition {name}: out of memory, done in {count} pieces"
        assert (label, {}) in tasks.lines
    assert min(sizes) >= 1 and max(sizes) == max(rows.values())


def test_what_does_not_fit_in_the_least_piece_names_the_partition(source, tmp_path, monkeypatch):
    bounded(monkeypatch, 0)
    (tmp_path / "out").mkdir()
    with cluster(LocalCluster(workers=1)) as workers:
        tasks = ShownTasks(workers, Silent())
        with pytest.raises(ConfigError, match=r"usage/part-0000\d.parquet.*: memory ran out 3 tim"):
            stage.profile(ONE, source, tmp_path / "out", tasks)


def test_memory_is_predicted_before_and_reported_after(source, tmp_path):
    tasks = Told()
    summary, _ = run(source, tmp_path / "out", tasks)
    assert summary["in_pieces"] == {}
    assert summary["predicted_peak_bytes"] > KERNELS
    assert 10_000_000 < summary["peak_bytes"] <= here()[1]
    first, last = (figures for label, figures in tasks.lines if label == "profile: memory")
    assert first["predicted"] == last["predicted"] == sized(summary["predicted_peak_bytes"])
    assert first["tasks_at_once"] == 1 and last["peak"] == sized(summary["peak_bytes"])


def written(folder, rows, name):
    frame = pd.DataFrame({"subscriber": np.arange(rows), "time": 0, "value": 0.5, "kind": "voice"})
    tables.write(frame, folder / name)
    return folder / name


def test_a_prediction_counts_what_is_read_and_what_comes_out(tmp_path):
    people, usage = written(tmp_path, 1_000, "people"), written(tmp_path, 20_000, "usage")
    before = Memory(held=5_000, peak=6_000, processes=2, at_once=1, limit=math.inf)
    part = {people: None, usage: ["subscriber", "time"]}
    base = 5_000 + 2 * KERNELS

    def working(part, coded=(), features=0):
        return predicted(before, [part], coded, features).peak - base

    text = 1_000 * (8 + len("voice"))
    own = 2 * (3 * 8_000 + text) + 3 * 8 * 1_000 * 4
    assert working(part) == own + 2 * 2 * 160_000
    assert working(part, features=10) == working(part) + 3 * 10 * 8_000
    more = {people: None, usage: ["subscriber", "time", "kind"]}
    assert working(more, ["kind"]) == working(part) + 2 * 160_000
    assert working(more) == working(part) + 2 * 20_000 * (8 + len("voice"))
    two = predicted(replace(before, at_once=2), [part, part], (), 0)
    assert two.peak - base == 2 * working(part) and two.working == working(part)
    again = predicted(before, [part, part], (), 0)
    assert again.working == int(working(part) * (1 + memory.KEPT))
    assert predicted(replace(before, peak=10**12), [part], (), 0).peak == 10**12


def test_a_prediction_counts_the_longest_row_group(tmp_path, monkeypatch):
    people, usage = written(tmp_path, 1_000, "people"), written(tmp_path, 20_000, "usage")
    before = Memory(held=0, peak=0, processes=0, at_once=1, limit=math.inf)
    part = {people: None, usage: ["subscriber", "time"]}

    def working(**options):
        return predicted(before, [part], (), 6, **options).peak

    whole = working()
    rows = pq.read_table(usage)
    with pq.ParquetWriter(usage, rows.schema) as writer:
        for start, stop in ((0, 4_000), (4_000, 14_000), (14_000, 20_000)):
            writer.write_table(rows.slice(start, stop - start))
    row = 10 * 8
    assert working() == whole - 2 * 10_000 * 16 - 2 * (1_000 - 334) * row
    assert working(in_pieces=False) == whole
    monkeypatch.setattr(memory, "GROUP", 50_000)
    assert working() == whole - 2 * 10_000 * 16 - 2 * (1_000 - 334) * row - (80_000 - 50_000)


def test_the_advice_fits(tmp_path):
    usage = written(tmp_path, 20_000, "usage")
    before = Memory(held=0, peak=0, processes=0, at_once=2, limit=4 * 10**6)
    found = predicted(before, [{usage: None}] * 4, (), 0)
    assert found.advice(replace(before, limit=math.inf), 4) == ""
    text = found.advice(before, 4)
    wanted = int(text.split("inputs.partitions=")[1].split()[0])
    assert (
        2 * found.working * 4 / wanted <= 0.8 * before.limit < 2 * found.working * 4 / (wanted - 1)
    )
    small = replace(before, held=10**9)
    crowded = predicted(small, [{usage: None}] * 4, (), 0)
    assert crowded.advice(small, 4).endswith("set fewer cluster.workers")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1_234, "1.2 kB"), (5e12, "5,000.0 GB")]
)
def test_bytes_for_people(count, text):
    assert sized(count) == text


def test_rows_are_read_across_row_groups(tmp_path):
    frame = pd.DataFrame({"a": np.arange(10), "b": list("abcdefghij")})
    frame.to_parquet(tmp_path / "x.parquet", row_group_size=3)
    for start in range(11):
        for stop in range(start, 11):
            found = tables.read(tmp_path / "x.parquet", ["b", "a"], rows=slice(start, stop))
            assert found["a"].tolist() == list(range(start, stop))
            assert list(found.columns) == ["b", "a"]
    shutil.rmtree(tmp_path)

"""A job whose blocks came from Parquet files loses the worker that holds them: the same bytes."""

import os
import signal
from collections import Counter
from time import time_ns

import pytest

from engine.settings import load
from engine.settings.job import LocalCluster
from jobs import allocate as stage
from jobs.cluster import cluster
from jobs.ingest import ingest
from jobs.profile import profile
from jobs.progress import ShownTasks, Silent
from jobs.score import score
from jobs.spread import Spread
from jobs.tasks import SerialTasks
from tests.golden.__main__ import HERE

PARTITIONS = 5
SETTINGS = [f"inputs.folder={HERE / 'inputs'}", f"inputs.partitions={PARTITIONS}"]
SOLVERS = {
    "prices": ["solver.exact_pairs=0", "solver.sample=100", "solver.gap_tolerance=0.01"],
    "goals": ['goals=[{"name": "reach", "maximise": "contacts", "within": 0.5}]'],
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """The stages before allocate of the golden job in five partitions."""
    job, tasks = load(HERE / "job.yaml", SETTINGS), SerialTasks()
    folders = {name: tmp_path_factory.mktemp(name) for name in ("ingest", "profile", "score")}
    ingest(job, folders["ingest"], tasks)
    profile(job, folders["ingest"], folders["profile"], tasks)
    score(job, folders, folders["score"], tasks)
    return folders


def read_and_noted(part):
    """Read a partition as the job does, and leave a note that it was read, and by whom."""
    found = real_read(part)
    (part.job.output / f"{part.features.stem}.{os.getpid()}.{time_ns()}").touch()
    return found


real_read = stage.read_candidates


def pid_of(_):
    return os.getpid()


class Killing(ShownTasks):
    """Tasks that kill the only worker that holds some block, once the search tells something."""

    def __init__(self, workers, when):
        super().__init__(workers, Silent())
        self.kept = self.killed = self.lost = None
        self.client, self.when = workers.client, when

    def keep(self, *args, **options):
        found = super().keep(*args, **options)
        assert isinstance(found, Spread)
        self.kept = self.kept or found
        return found

    def tell(self, label, **figures):
        super().tell(label, **figures)
        if self.killed is None and self.when in figures:
            where = self.client.who_has(self.kept.futures)
            held = [where[future.key] for future in self.kept.futures]
            self.lost = next(i for i, holders in enumerate(held) if len(holders) == 1)
            (holder,) = held[self.lost]
            pids = self.client.run(os.getpid)
            self.killed = pids[holder]
            os.kill(self.killed, signal.SIGKILL)


def content(folder):
    """Return all that was written, by file; seconds are not the job's."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize(("solver", "when"), [("prices", "active"), ("goals", "status")])
def test_blocks_of_a_killed_worker_are_read_again_to_the_same_bytes(
    stages, tmp_path, monkeypatch, solver, when
):
    monkeypatch.setattr(stage, "read_candidates", read_and_noted)
    folders = {name: tmp_path / name for name in ("here", "there", "notes")}
    for folder in folders.values():
        folder.mkdir()
    changes = [*SETTINGS, *SOLVERS[solver], f"output={folders['notes']}"]
    job = load(HERE / "job.yaml", changes)
    stage.allocate(job, stages, folders["here"], SerialTasks())
    for note in folders["notes"].iterdir():
        note.unlink()
    with cluster(LocalCluster(workers=2, processes=True)) as workers:
        tasks = Killing(workers, when)
        stage.allocate(job, stages, folders["there"], tasks)
        assert tasks.killed not in tasks.kept.map(pid_of)
    assert content(folders["there"]) == content(folders["here"])
    notes = [note.name.split(".")[:2] for note in folders["notes"].iterdir()]
    read = Counter(name for name, _ in notes)
    assert set(read.values()) <= {1, 2} and len(read) == PARTITIONS
    again = {name for name, count in read.items() if count == 2}
    held = {name for name, pid in notes if int(pid) == tasks.killed}
    assert {f"part-{tasks.lost:05}"} <= again <= held  # what was lost was read again, by another

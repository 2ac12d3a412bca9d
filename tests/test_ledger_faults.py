"""A ledger is as before a command or as after it: killed at any write, on a full disk, at once.

Deaths and errors inside a write come from a limit on the size of files, the log's too.
"""

import json
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from jobs.ledger import audit, book, care, events, files, table
from tests.ledgers import DAY, outcomes_file, planned, run_folder

ROOT = Path(__file__).parent.parent
KILLED, CUT = -9, -25  # by SIGKILL, and by SIGXFSZ
DATA, FULL = 2, 3  # as tests.ledger_zygote says it


def at_once(tasks):
    """Run each task in a process of its own, all at once; return how they ended."""
    command = [sys.executable, "-m", "tests.ledger_zygote"]
    done = subprocess.run(
        command, cwd=ROOT, input=json.dumps(tasks), capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return json.loads(done.stdout)


def rows_of(folder):
    """Return the rows of a ledger, but for when they were written."""
    found = table.opened(folder)
    if found is None:
        return Counter()
    audit.verified(folder)
    names = [name for name in table.schema(found.key).names if name != "booked_at"]
    return Counter(map(tuple, files.read(found, names).to_pandas().astype(str).to_numpy()))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Return a ledger with a week of contacts in few buckets, and what commands take."""
    home = tmp_path_factory.mktemp("base")
    people = [who for who in range(60) if bucket(who) < 2]
    for i in range(4):
        rows = [(who, "data", "sms") for who in people]
        run = planned(home / f"r{i}", home / "ledger", rows, as_of=DAY + timedelta(days=i % 2),
                      policies="")  # fmt: skip
        book.book(run, home / "ledger")
    run = run_folder(home / "run", "ledger", rows, as_of=DAY + timedelta(days=5), policies="")
    answers = [(who, f"2026-10-0{4 + i}", "data", "sms", "accepted") for who in people[:3]
               for i in range(2)]  # fmt: skip
    file = outcomes_file(home / "answers.csv", answers)
    commands = {
        "commit": (str(run),),
        "outcomes": (str(file),),
        "compact": (),
        "purge": ("2026-10-02",),
        "erase": tuple(map(str, people[:2])),
    }
    return home / "ledger", commands, people


def bucket(who):
    return int(care.tables.bucket(pd.Series([who]), table.BUCKETS)[0])


@contextmanager
def lasting():
    """Give the list of files and folders that are made to last meanwhile."""
    syncs, sync = [], table.sync

    def counted(path):
        sync(path)
        syncs.append(path)

    table.sync = files.sync = counted
    try:
        yield syncs
    finally:
        table.sync = files.sync = sync


def done(name, folder, arguments):
    """Do a command here; return how many writes were made to last."""
    with lasting() as syncs:
        if name == "commit":
            book.book(book.planned(Path(arguments[0])), folder)
        elif name == "outcomes":
            events.add_outcomes(Path(arguments[0]), folder)
        elif name == "purge":
            care.purge(folder, care.date.fromisoformat(arguments[0]))
        elif name == "erase":
            care.erase(folder, arguments)
        else:
            care.compact(folder)
    return len(syncs)


NAMES = ("commit", "outcomes", "compact", "purge", "erase")


@pytest.fixture(scope="module")
def faulty(base, tmp_path_factory):
    """Run every command with every fault; return by command what was done and what is left."""
    ledger, commands, _ = base
    home, tasks, found = tmp_path_factory.mktemp("faulty"), [], {}
    for name in NAMES:
        after = home / f"{name}-after"
        shutil.copytree(ledger, after)
        writes = done(name, after, commands[name])
        faults = [("killed", i + 1) for i in range(writes)]
        limits = [(0, 2_000), (writes - 2, 300)]  # in a file of rows, and in the log
        faults += [("limited", *limit, is_killed) for limit in limits for is_killed in (1, 0)]
        folders = [home / f"{name}-{i}" for i in range(len(faults))]
        for folder in folders:
            shutil.copytree(ledger, folder)
        own = [[fault, (name, str(folder), *commands[name])]
               for fault, folder in zip(faults, folders, strict=True)]  # fmt: skip
        found[name] = (writes, folders, after, slice(len(tasks), len(tasks) + len(own)))
        tasks += own
    codes = at_once(tasks)
    return {name: (*rest, codes[place]) for name, (*rest, place) in found.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_dies_or_has_no_room_leaves_all_or_nothing(base, faulty, name):
    ledger, commands, people = base
    writes, folders, whole, codes = faulty[name]
    before, after = rows_of(ledger), rows_of(whole)
    assert (after != before) == (name != "compact") and writes >= 4
    assert codes == [KILLED] * writes + [CUT, FULL, CUT, DATA]
    found = set()
    for folder in folders:
        left = rows_of(folder)
        assert left in (before, after)
        found.add(left == after)
        done(name, folder, commands[name])
        assert rows_of(folder) == after
        if name == "erase":
            kept = pd.concat(map(pd.read_parquet, folder.glob("date=*/bucket=*/*.parquet")))
            assert set(kept["subscriber"]) == set(people[2:])
    assert found == {True, False} or name == "compact"


def test_processes_that_book_at_once_pass_no_cap_and_book_a_run_once(tmp_path):
    scarce, free = tmp_path / "scarce", tmp_path / "free"
    same = [(who, "data", "sms") for who in range(5)]
    rivals = [run_folder(tmp_path / f"r{i}", scarce, same) for i in range(8)]
    others = [run_folder(tmp_path / f"o{i}", free, [(i, "data", "sms")]) for i in range(5)]
    tasks = [[("commit", str(scarce), str(run))] for run in rivals]
    tasks += [[("commit", str(free), str(run))] for run in [*others, *others]]
    codes = at_once(tasks)
    assert Counter(codes[:8]) == {0: 2, 5: 6} and codes[8:] == [0] * 10
    assert audit.verified(scarce)["rows"] == 10
    booked = [run for run, code in zip(rivals, codes, strict=False) if code == 0]
    runs = [book.planned(run).fingerprint for run in booked]
    assert sorted(audit.shown(scarce)["runs"]) == sorted(runs)
    found = audit.verified(free)
    assert (found["rows"], found["version"], found["leftovers"]) == (5, 5, 0)


def test_a_change_made_beside_another_is_begun_anew(tmp_path):
    ledger = tmp_path / "ledger"
    book.book(planned(tmp_path / "a", ledger, [(1, "data", "sms")]), ledger)
    old = table.existing(ledger)
    book.book(planned(tmp_path / "b", ledger, [(2, "data", "sms")]), ledger)
    made = files.written(old, files.read(old, table.schema(old.key).names))
    assert old.place(made[0]).exists()
    with pytest.raises(table.Conflict):
        table.commit(old, made, {"x": 1})
    assert not old.place(made[0]).exists() and table.existing(ledger).version == 2
    assert table.existing(ledger).rows_of("x") is None


def test_a_reader_that_was_overtaken_begins_anew(tmp_path):
    ledger = tmp_path / "ledger"
    for name in "ab":
        book.book(planned(tmp_path / name, ledger, [(1, "data", "sms")]), ledger)
    old = table.existing(ledger)
    care.compact(ledger)
    with pytest.raises(table.Conflict):
        files.read(old, ["contact"])


def test_all_that_a_booking_makes_is_made_to_last(tmp_path):
    ledger, known = tmp_path / "ledger", set()
    for i, who in enumerate((1, 2)):
        run = planned(tmp_path / f"r{i}", ledger, [(who, "data", "sms")], policies="",
                      as_of=DAY + timedelta(days=i))  # fmt: skip
        with lasting() as syncs:
            book.book(run, ledger)
        new = {path for path in (ledger, *ledger.rglob("*")) if path not in known}
        assert new | {path.parent for path in new} <= set(syncs)
        known |= new
        *_, log, folder = syncs
        assert (log.name, folder.name) == (f"{i + 1:020}.json", table.LOG)

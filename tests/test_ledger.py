"""The ledger's commands, each by its result, its figures and its exit code."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from deltalake import DeltaTable

from engine.errors import ConfigError, DataError, RefusedError
from jobs.ledger import audit, book, care, events, files, state, table
from tests.ledgers import DAY, job_of, outcomes_file, planned, run_folder
from tests.test_cli import walras

ROWS = [(1, "data", "sms"), (1, "voice", "email"), (2, "data", "email"), (3, "voice", "sms")]


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "ledger"


@pytest.fixture
def run(tmp_path, ledger):
    return run_folder(tmp_path / "run", ledger, ROWS)


def told(*arguments, code=0):
    result = walras(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def effective(folder):
    found = table.existing(folder)
    rows = state.contacts(found, freed=state.freed(found)).to_pylist()
    return sorted((r["subscriber"], r["offer"], r["channel"]) for r in rows)


def test_a_run_is_booked_once(run, ledger):
    first, again = told("commit", run), told("commit", run)
    assert (first["contacts"], first["already_done"], first["version"]) == (4, False, 1)
    assert (again["contacts"], again["already_done"], again["version"]) == (4, True, 1)
    assert effective(ledger) == sorted(ROWS)
    assert told("ledger", "verify", ledger)["rows"] == 4
    assert "already booked: 4 contacts" in walras("commit", run).stdout


def test_rows_are_whole_and_other_programs_read_them(run, ledger):
    told("commit", run)
    rows = DeltaTable(ledger).to_pandas()
    fingerprint = book.planned(run).fingerprint
    assert set(rows.columns) == {*table.schema(table.pa.int64()).names, "date", "bucket"}
    assert set(rows["run"]) == {fingerprint} and set(rows["entry"]) == {f"run:{fingerprint}"}
    assert set(rows["category"]) == {"boost", "talk"} and set(rows["team"]) == {""}
    assert rows["contact"].is_unique and (rows["time"] == DAY).all()
    assert (rows["booked_at"] <= datetime.now(UTC)).all()
    one = pd.read_parquet(next(ledger.glob("date=2026-10-01/bucket=*/*.parquet")))
    assert one["subscriber"].isin([1, 2, 3]).all()


def test_no_statistics_are_in_the_log(run, ledger):
    told("commit", run)
    for path in (ledger / table.LOG).glob("*.json"):
        assert "minValues" not in path.read_text()


def test_contacts_that_others_booked_meanwhile_are_refused(tmp_path, run, ledger):
    other = run_folder(tmp_path / "other", ledger, [(1, "data", "email"), (2, "voice", "sms")])
    told("commit", run)
    found = told("commit", other, code=5)
    assert len(found["problems"]) == 2
    assert (
        "subscriber 1: policy two_a_week allows 2 within 7d and leaves 0, planned 1"
        in found["problems"][0]
    )
    assert "planned on version -1 of the ledger, which is at 1" in found["problems"][1]
    assert effective(ledger) == sorted(ROWS)
    assert walras("commit", other).stderr.startswith("refused: ")


HOMES = {1: "h", 2: "h", 3: "h", 4: "g"}
A_WEEK = "{name: home, at_most: 1, within: 7d, over: household}"


def test_contacts_of_other_members_that_were_booked_meanwhile_are_refused(tmp_path, ledger):
    own = {"policies": A_WEEK, "homes": HOMES}
    first = run_folder(tmp_path / "first", ledger, [(3, "data", "sms"), (4, "data", "sms")], **own)
    second = run_folder(tmp_path / "second", ledger, [(1, "voice", "email")], **own)
    alone = run_folder(tmp_path / "alone", ledger, [(5, "voice", "email")], **own)
    assert told("commit", first)["contacts"] == 2
    (problem, _) = told("commit", second, code=5)["problems"]
    text = "subscriber 1: policy home allows 1 within 7d and leaves 0 to the household, planned 1"
    assert text in problem
    assert told("commit", alone)["contacts"] == 1
    told("cancel", first, "--as-of", "2026-09-30")
    assert told("commit", second)["contacts"] == 1


def test_a_run_on_a_newer_ledger_is_made_in_place_of_one_that_households_refuse(tmp_path, ledger):
    own = {"policies": A_WEEK, "homes": HOMES}
    book.book(planned(tmp_path / "first", ledger, [(3, "data", "sms")], **own), ledger)
    run = planned(tmp_path / "second", ledger, [(1, "voice", "email")], version=0, **own)

    def again(job):
        assert job == run.job
        return run_folder(tmp_path / "again", ledger, [(4, "voice", "email")], version=1, **own)

    made, booked = book.book_again(run, ledger, again)
    assert (made.folder, booked.rows) == (tmp_path / "again", 1)


def test_a_run_without_its_households_is_not_booked(tmp_path, ledger):
    folder = run_folder(tmp_path / "run", ledger, ROWS, policies=A_WEEK)
    with pytest.raises(
        DataError, match=r"households.parquet: cannot be read .*; run the job again"
    ):
        book.planned(folder)
    now = run_folder(tmp_path / "now", ledger, ROWS, policies="{name: home, at_most: 1, "
                     "over: household}")  # fmt: skip
    assert book.planned(now).households is None


def test_many_refused_contacts_are_counted(tmp_path, ledger):
    rows = [(i, "data", "sms") for i in range(30)]
    book.book(planned(tmp_path / "one", ledger, rows), ledger)
    again = planned(tmp_path / "two", ledger, rows, policies="{name: once, at_most: 1, within: 1d}")
    with pytest.raises(RefusedError) as refused:
        book.book(again, ledger)
    lines = str(refused.value).splitlines()
    assert len(lines) == 22 and lines[20].endswith("and 10 more")


def test_a_contact_booked_for_later_counts_with_an_earlier_one(tmp_path, ledger):
    later = DAY + timedelta(days=6)
    book.book(planned(tmp_path / "b", ledger, ROWS[:2], as_of=later), ledger)
    with pytest.raises(RefusedError, match="subscriber 1: .* and leaves 0, planned 1"):
        book.book(planned(tmp_path / "a", ledger, ROWS[:1]), ledger)
    far = planned(tmp_path / "c", ledger, ROWS[:1], as_of=DAY - timedelta(days=1))
    assert book.book(far, ledger).rows == 1


def test_the_contacts_of_a_run_are_released_until_they_are_sent(tmp_path, run, ledger):
    told("commit", run)
    sent = outcomes_file(tmp_path / "sent.csv", [(2, "2026-10-01", "data", "email", "sent")])
    told("outcomes", sent, "--ledger", ledger)
    assert told("cancel", run, "--as-of", "2026-10-01")["contacts"] == 0
    assert told("cancel", run, "--as-of", "2026-09-30T23:59:59Z")["contacts"] == 3
    assert told("cancel", run, "--as-of", "2026-09-30")["contacts"] == 0
    assert effective(ledger) == [(2, "data", "email")]
    assert told("ledger", "verify", ledger)["rows"] == 8
    (problem,) = told("commit", run, code=2)["problems"]
    assert "and 3 of its contacts were cancelled since; give --rebook" in problem


def test_what_was_cancelled_can_be_booked_again(tmp_path, run, ledger):
    told("commit", run)
    sent = outcomes_file(tmp_path / "sent.csv", [(2, "2026-10-01", "data", "email", "sent")])
    told("outcomes", sent, "--ledger", ledger)
    assert told("commit", run, "--rebook")["already_done"]  # nothing was cancelled
    for _ in range(2):
        assert told("cancel", run, "--as-of", "2026-09-30")["contacts"] == 3
        again = told("commit", run, "--rebook")
        assert (again["contacts"], again["already_done"]) == (3, False)
        assert (
            told("commit", run)["already_done"] and told("commit", run, "--rebook")["already_done"]
        )
        assert effective(ledger) == sorted(ROWS)
        told("ledger", "verify", ledger)
    told("cancel", run, "--as-of", "2026-09-30")
    other = run_folder(tmp_path / "other", ledger, [(1, "data", "email")])
    told("commit", other)
    assert (
        "subscriber 1: policy two_a_week" in told("commit", run, "--rebook", code=5)["problems"][0]
    )
    assert effective(ledger) == [(1, "data", "email"), (2, "data", "email")]


def test_a_cancelled_contact_makes_room(tmp_path, run, ledger):
    other = run_folder(tmp_path / "other", ledger, [(1, "data", "email")])
    told("commit", run)
    told("commit", other, code=5)
    told("cancel", run, "--as-of", "2026-09-30")
    assert told("commit", other)["contacts"] == 1


def test_a_contact_that_failed_makes_room(tmp_path, run, ledger):
    other = run_folder(tmp_path / "other", ledger, [(1, "data", "email")])
    told("commit", run)
    failed = [(1, "2026-10-03", "voice", "email", "failed")]
    told("outcomes", outcomes_file(tmp_path / "f.csv", failed), "--ledger", ledger)
    assert told("commit", other)["contacts"] == 1
    assert told("ledger", "show", ledger)["contacts"]["failed"] == 1


def test_import_books_contacts_of_others(tmp_path, ledger):
    file = tmp_path / "old.csv"
    file.write_text("subscriber,time,offer,channel,team\n7,2026-09-30,data,sms,care\n")
    first = told("ledger", "import", file, "--ledger", ledger)
    assert first["files"] == [{"file": str(file), "rows": 1, "already_done": False}]
    shutil.copy(file, tmp_path / "copy.csv")
    assert told("ledger", "import", tmp_path / "copy.csv", "--ledger", ledger)["files"][0][
        "already_done"
    ]
    assert effective(ledger) == [(7, "data", "sms")]


def test_show_tells_the_state(tmp_path, run, ledger):
    told("commit", run)
    answers = [(1, "2026-10-02", "data", "sms", "accepted"), (9, "2026-10-02", "", "", "opt_out")]
    answers[1] = (9, "2026-10-02", "data", "sms", "opt_out")
    told("outcomes", outcomes_file(tmp_path / "a.csv", answers), "--ledger", ledger)
    found = told("ledger", "show", ledger)
    assert found["contacts"] == {
        "booked": 4, "cancelled": 0, "failed": 0, "summed_up": 0, "effective": 4,
    }  # fmt: skip
    assert found["outcomes"] == {"accepted": 1, "opt_out": 1}
    assert found["channels"] == {"email": 2, "sms": 2}
    assert list(found["runs"].values()) == [4] and found["version"] == 2
    assert (found["first_day"], found["last_day"], found["rows"]) == ("2026-10-01", "2026-10-02", 6)
    text = walras("ledger", "show", ledger).stdout
    assert "contacts effective: 4" in text and "outcomes opt out: 1" in text


def test_compact_writes_a_day_and_bucket_as_one_file(tmp_path, ledger):
    for i in range(3):
        book.book(planned(tmp_path / f"r{i}", ledger, [(5 + 100 * i, "data", "sms")]), ledger)
        book.book(planned(tmp_path / f"s{i}", ledger, [(5, "data", "sms")], policies=""), ledger)
    before = effective(ledger)
    assert told("ledger", "compact", ledger)["files_removed"] >= 3
    left = list(ledger.glob("date=*/bucket=*/*.parquet"))
    assert len(left) == len({path.parent for path in left})
    assert effective(ledger) == before and told("ledger", "verify", ledger)["entries"] == 6
    assert told("ledger", "compact", ledger)["files_removed"] == 0


def test_purge_keeps_lifetime_counts(tmp_path, run, ledger):
    told("commit", run)
    answers = [
        (1, "2026-10-01T09:00Z", "data", "sms", "accepted"),
        (2, "2026-10-05", "data", "email", "failed"),
        (3, "2026-10-05", "voice", "sms", "accepted"),
    ]
    told("outcomes", outcomes_file(tmp_path / "a.csv", answers), "--ledger", ledger)
    later = planned(tmp_path / "later", ledger, ROWS[:1], as_of=DAY + timedelta(days=30))
    book.book(later, ledger)
    before = effective(ledger)
    assert told("ledger", "purge", ledger, "--before", "2026-10-03")["rows"] == 5
    assert effective(ledger) == before and (2, "data", "email") not in before
    found = told("ledger", "show", ledger)
    assert found["contacts"]["summed_up"] == 3 and found["contacts"]["booked"] == 1
    told("ledger", "verify", ledger)
    assert told("ledger", "purge", ledger, "--before", "2026-10-03")["rows"] == 0
    told("ledger", "purge", ledger, "--before", "2027-01-01")
    assert effective(ledger) == before
    assert told("ledger", "show", ledger)["contacts"]["summed_up"] == 4
    rows = state.outcomes(table.existing(ledger))["outcome"].to_pylist()
    assert sorted(rows) == ["accepted", "accepted", "failed"]


def test_purged_contacts_of_a_package_are_counted_one_by_one(tmp_path, ledger):
    policies = "{name: pack, package: [data, voice]}, {name: three, at_most: 3, within: ever}"
    for i in range(3):
        run = planned(
            tmp_path / f"r{i}", ledger, ROWS[:1], as_of=DAY + timedelta(days=i), policies=""
        )
        book.book(run, ledger)
    care.purge(ledger, (DAY + timedelta(days=9)).date())
    more = {"as_of": DAY + timedelta(days=60), "policies": policies}
    with pytest.raises(RefusedError, match="policy three allows 3 within ever and leaves 0"):
        book.book(planned(tmp_path / "more", ledger, ROWS[:1], **more), ledger)


def test_a_cap_of_none_is_told(tmp_path, run, ledger):
    told("commit", run)
    none = run_folder(
        tmp_path / "none", ledger, ROWS[2:3], policies="{name: shut, at_most: 0, within: 1d}"
    )
    assert "policy shut allows 0 within 1d" in told("commit", none, code=5)["problems"][0]


def test_an_outcome_a_little_before_its_contact_stays_with_it(tmp_path, run, ledger):
    told("commit", run)
    early = outcomes_file(
        tmp_path / "a.csv", [(1, "2026-09-30T23:00Z", "data", "sms", "failed")],
        run=[book.planned(run).fingerprint],
    )  # fmt: skip
    told("outcomes", early, "--ledger", ledger)
    assert told("ledger", "purge", ledger, "--before", "2026-10-01")["rows"] == 0
    assert (1, "data", "sms") not in effective(ledger)


@pytest.mark.parametrize("keys", [[1, 2, 3], ["anna", "bert", "c'é"]])
def test_erase_leaves_no_file_that_names_a_subscriber(tmp_path, ledger, keys):
    rows = [(keys[i - 1], *rest) for i, *rest in ROWS]
    for name, as_of in (("run", DAY), ("next", DAY + timedelta(days=30))):
        book.book(planned(tmp_path / name, ledger, rows, as_of=as_of), ledger)
    care.compact(ledger)
    DeltaTable(ledger).create_checkpoint()
    assert list((ledger / table.LOG).glob("*.checkpoint.parquet"))
    found = told("ledger", "erase", ledger, keys[0], keys[2])
    assert found["rows"] == 6
    kept = [pd.read_parquet(path) for path in ledger.glob("date=*/bucket=*/*.parquet")]
    assert set(pd.concat(kept)["subscriber"]) == {keys[1]}
    if isinstance(keys[0], str):
        everything = b"".join(path.read_bytes() for path in ledger.rglob("*") if path.is_file())
        assert b"anna" not in everything and b"bert" in everything
    assert {who for who, *_ in effective(ledger)} == {keys[1]}
    told("ledger", "verify", ledger)
    assert told("commit", tmp_path / "run")["already_done"]
    assert told("ledger", "erase", ledger, keys[0])["rows"] == 0


def test_erase_tells_of_statistics_that_another_program_left(tmp_path, run, ledger):
    told("commit", run)
    log = ledger / table.LOG / f"{1:020}.json"
    log.write_text(log.read_text().replace("numRecords", 'minValues\\": {}, \\"numRecords', 1))
    assert "statistics of columns" in told("ledger", "erase", ledger, 1, code=2)["problems"][0]


def test_erase_tells_of_files_that_another_program_left(tmp_path, run, ledger):
    told("commit", run)
    pd.DataFrame({"x": [1]}).to_parquet(ledger / "part.parquet")
    (problem,) = told("ledger", "erase", ledger, 1, code=2)["problems"]
    assert problem.startswith(f"{ledger / 'part.parquet'}: is no file of the ledger")
    assert {who for who, *_ in effective(ledger)} == {2, 3}


def test_erase_searches_no_file_that_was_swept_meanwhile(run, ledger, monkeypatch):
    told("commit", run)
    read = care.pq.read_table

    def swept(path, **how):
        path.unlink()
        return read(path, **how)

    monkeypatch.setattr(care.pq, "read_table", swept)
    assert care.erase(ledger, ["9"]).rows == 0


def test_verify_names_what_is_wrong(tmp_path, run, ledger):
    told("commit", run)
    (first, *_) = sorted(ledger.glob("date=*/bucket=*/*.parquet"))
    whole = first.read_bytes()

    def problems():
        return told("ledger", "verify", ledger, code=2)["problems"]

    first.write_bytes(whole[:-7])
    assert f"{first}: is cut short or changed" in problems()[0] and "backup" in problems()[0]
    assert "cut short" in told("ledger", "show", ledger, code=2)["problems"][0]
    flipped = bytearray(whole)
    flipped[40] ^= 255
    first.write_bytes(flipped)
    assert f"{first}: cannot be read" in problems()[0]
    first.unlink()
    assert f"{first}: is missing" in problems()[0]
    first.write_bytes(whole)
    told("ledger", "verify", ledger)
    log = ledger / table.LOG / f"{1:020}.json"
    text = log.read_text()
    log.write_text(text.replace('"version":4', '"version":5'))
    assert "has 4 rows, the log says 5" in problems()[0]
    log.write_text(text[:100])
    assert "the log of the ledger cannot be read" in problems()[0]
    (ledger / table.LOG / f"{0:020}.json").unlink()
    assert "the log of the ledger cannot be read" in problems()[0]


def changed(ledger, change):
    """Have another program write the rows of a ledger again, otherwise, behind its back."""
    found = table.existing(ledger)
    rows = files.read(found, table.schema(found.key).names)
    table.commit(found, files.written(found, change(rows)), {}, removed=found.files)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: table.pa.concat_tables([rows, rows]), "is contact twice"),
        (lambda rows: rows.slice(0, 4), "has 0 rows, the log says 1"),
        (lambda rows: rows.filter(table.pa.compute.not_equal(rows["kind"], "contact")),
         "outcome names contact"),
    ],
)  # fmt: skip
def test_verify_recounts_rows(tmp_path, run, ledger, change, said):
    told("commit", run)
    answer = [(3, "2026-10-09", "voice", "sms", "accepted")]
    told("outcomes", outcomes_file(tmp_path / "a.csv", answer), "--ledger", ledger)
    changed(ledger, change)
    assert any(said in line for line in told("ledger", "verify", ledger, code=2)["problems"])


def test_what_is_no_ledger_is_refused(tmp_path, run, ledger):
    for command in ("show", "verify", "compact"):
        assert "there is no ledger" in told("ledger", command, ledger, code=2)["problems"][0]
    assert "no ledger" in told("cancel", run, code=2)["problems"][0]
    ledger.mkdir()
    (ledger / "notes.txt").write_text("mine")
    assert "is not empty" in told("commit", run, code=2)["problems"][0]
    table.DeltaTable.create(tmp_path / "else", table.pa.schema([("a", table.pa.int64())]))
    said = told("commit", run, "--ledger", tmp_path / "else", code=2)["problems"][0]
    assert "no contact ledger" in said


def test_wrong_runs_are_refused(tmp_path, run, ledger):
    assert "is not a finished run" in told("commit", tmp_path, code=2)["problems"][0]
    text = run_folder(tmp_path / "text", ledger, [("a", "data", "sms")])
    told("commit", run)
    assert "keys of the ledger are whole numbers" in told("commit", text, code=2)["problems"][0]
    unbooked = run_folder(tmp_path / "unbooked", ledger, ROWS)
    assert "was not booked" in told("cancel", unbooked, code=2)["problems"][0]
    summary = unbooked / "summary.json"
    summary.write_text(json.dumps({"status": "OPTIMAL", "contacts": 5}))
    assert "has 4 contacts, the run made 5" in told("commit", unbooked, code=2)["problems"][0]
    summary.write_text(json.dumps({"status": "INFEASIBLE", "contacts": 4}))
    assert "nothing to book" in told("commit", unbooked, code=2)["problems"][0]
    manifest = json.loads((unbooked / "manifest.json").read_text())
    (unbooked / "manifest.json").write_text(json.dumps(manifest | {"ledger": None}))
    summary.write_text(json.dumps({"status": "OPTIMAL", "contacts": 4}))
    assert "--ledger: is needed" in told("commit", unbooked, code=2)["problems"][0]
    said = told("commit", unbooked, "--ledger", ledger, "--resolve", code=2)["problems"][0]
    assert "was not planned on" in said
    assert told("commit", unbooked, "--ledger", ledger, code=5)


def test_wrong_options_are_refused(run, ledger):
    told("commit", run)
    assert "--as-of" in told("cancel", run, "--as-of", "soon", code=2)["problems"][0]
    assert "--before" in told("ledger", "purge", ledger, "--before", "1", code=2)["problems"][0]
    assert told("ledger", "purge", ledger, "--before", "0001-01-01")["rows"] == 0
    assert "'x'" in told("ledger", "erase", ledger, "1", "x", code=2)["problems"][0]


def test_an_empty_run_is_booked(tmp_path, ledger):
    empty = planned(tmp_path / "empty", ledger, [])
    assert book.book(empty, ledger).rows == 0
    assert book.book(empty, ledger).already
    assert audit.verified(ledger)["rows"] == 0 and audit.shown(ledger)["first_day"] is None


def test_the_ledger_of_a_job_leaves_no_room_for_other_histories():
    job = job_of("ledger")
    assert job.inputs.contacts.categories == ["offer", "channel", "category", "team"]
    assert job.inputs.outcomes.accepted == "outcome = 'accepted'"


def test_a_damaged_ledger_ends_an_import(tmp_path, run, ledger):
    told("commit", run)
    (ledger / table.LOG / f"{1:020}.json").write_text("{")
    with pytest.raises(DataError, match="the log of the ledger cannot be read"):
        events.import_contacts(outcomes_file(tmp_path / "a.csv", []), ledger)
    with pytest.raises(ConfigError):
        table.existing(tmp_path / "none")

"""Files of other systems: their problems, all at once, and which contact an outcome belongs to."""

from datetime import timedelta

import pandas as pd
import pyarrow.compute as pc
import pytest

from engine.errors import DataError
from jobs.ledger import book, events, files, table
from tests.ledgers import DAY, outcomes_file, planned

HEAD = "subscriber,time,offer,channel,outcome"


@pytest.fixture
def ledger(tmp_path):
    """Two runs a day apart, each with the same contact, and one of another subscriber."""
    folder = tmp_path / "ledger"
    for day, rows in enumerate([[(1, "data", "sms"), (2, "voice", "sms")], [(1, "data", "sms")]]):
        run = planned(tmp_path / f"run{day}", folder, rows, as_of=DAY + timedelta(days=day))
        book.book(run, folder)
    return folder


def booked(ledger):
    found = table.existing(ledger)
    rows = files.read(
        found, ["time", "subscriber", "contact", "run"], pc.field("kind") == "contact"
    )
    return rows.sort_by([("time", "ascending"), ("subscriber", "ascending")]).to_pylist()


def matched(ledger, path):
    """Append outcomes; return the position of the contact of each among those booked, by time."""
    events.add_outcomes(path, ledger)
    found = table.existing(ledger)
    names = ["time", "contact", "run"]
    rows = files.read(found, names, pc.field("kind") == "outcome").sort_by("time").to_pylist()
    places = {row["contact"]: (i, row["run"]) for i, row in enumerate(booked(ledger))}
    for row in rows:
        assert row["run"] == places.get(row["contact"], (None, ""))[1]
    return [places.get(row["contact"], (None, ""))[0] for row in rows]


def problems(path, ledger, add=events.add_outcomes):
    before = table.existing(ledger).version
    with pytest.raises(DataError) as error:
        add(path, ledger)
    assert table.existing(ledger).version == before
    return str(error.value).splitlines()


def test_an_outcome_belongs_to_the_latest_contact_by_its_time(tmp_path, ledger):
    rows = [
        (1, "2026-10-01T00:00:00Z", "data", "sms", "delivered"),
        (1, "2026-10-01T23:59:59Z", "data", "sms", "accepted"),
        (1, "2026-10-02T00:00:00Z", "data", "sms", "accepted"),
        (2, "2026-10-03", "voice", "sms", "ignored"),
        (2, "2026-10-04", "data", "sms", "opt_out"),
        (1, "2026-10-09", "data", "sms", "rejected"),
    ]
    path = outcomes_file(tmp_path / "a.csv", rows)
    assert matched(ledger, path) == [0, 0, 2, 1, None, 2]


def test_an_outcome_that_names_its_run_or_contact_belongs_to_it(tmp_path, ledger):
    first, _, last = booked(ledger)
    rows = [
        (1, "2026-10-01T12:00:00Z", "data", "sms", "sent"),
        (1, "2026-10-05T00:00:00Z", "data", "sms", "accepted"),
        (1, "2026-10-06T00:00:00Z", "data", "sms", "complaint"),
    ]
    path = outcomes_file(
        tmp_path / "a.csv", rows,
        run=[last["run"], first["run"], None], contact=[None, None, first["contact"]],
    )  # fmt: skip
    path.write_text(path.read_text().replace(".0", ""))
    assert matched(ledger, path) == [2, 0, 0]


def test_every_problem_of_a_file_is_told_at_once(tmp_path, ledger):
    path = tmp_path / "a.csv"
    lines = [
        "x,2026-10-02,data,sms,sent",
        ",2026-10-02,data,sms,sent",
        "1,soon,data,sms,sent",
        "1,,data,sms,sent",
        "1,2026-10-02,,sms,sent",
        "1,2026-10-02,data,,sent",
        "1,2026-10-02,data,sms,lost",
    ]
    path.write_text("\n".join([HEAD, *lines]))
    assert problems(path, ledger) == [
        f"{path} row 0: column subscriber: got 'x'; allowed is a whole number",
        f"{path} row 1: column subscriber: got None; allowed is a whole number",
        f"{path} row 2: column time: got 'soon'; allowed is an instant from 1700 to 2199",
        f"{path} row 3: column time: got None; allowed is an instant from 1700 to 2199",
        f"{path} row 4: column offer: got None; it should not be empty",
        f"{path} row 5: column channel: got None; it should not be empty",
        f"{path} row 6: column outcome: got 'lost'; allowed is sent, delivered, failed, accepted, "
        "rejected, ignored, complaint, opt_out",
    ]


def test_outcomes_of_contacts_that_are_not_there_are_refused(tmp_path, ledger):
    first = booked(ledger)[0]
    rows = [
        (1, "2026-10-02", "data", "sms", "sent"),
        (1, "2026-10-02", "data", "email", "delivered"),
        (1, "2026-10-02", "data", "sms", "accepted"),
        (2, "2026-10-02", "voice", "sms", "accepted"),
        (2, "2026-09-29", "voice", "sms", "sent"),
    ]
    run = [None, None, "other", None, None]
    path = outcomes_file(
        tmp_path / "a.csv", rows, run=run, contact=["", "", "", str(first["contact"]), ""]
    )
    said = "there is no such contact of this subscriber, offer and channel by then"
    assert problems(path, ledger) == [
        f"{path} row 3: column contact: got {first['contact']}; {said}",
        f"{path} row 2: column run: got 'other'; {said}",
        f"{path} row 1: column outcome: got 'delivered'; {said}",
        f"{path} row 4: column outcome: got 'sent'; {said}",
    ]


def test_a_row_that_repeats_another_is_refused(tmp_path, ledger):
    rows = [(1, "2026-10-02", "data", "sms", "sent")] * 30
    found = problems(outcomes_file(tmp_path / "a.csv", rows), ledger)
    assert "row 1: column subscriber: got 1; the row repeats an earlier one" in found[0]
    assert len(found) == 21 and "and 9 more rows" in found[20]


def test_missing_columns_and_wrong_types_are_told(tmp_path, ledger):
    (tmp_path / "a.csv").write_text("subscriber,time\n1,2026-10-02\n")
    names = [line.split("column ")[1].split(" is")[0] for line in
             problems(tmp_path / "a.csv", ledger)]  # fmt: skip
    assert names == ["offer", "channel", "outcome"]
    row = {"subscriber": [1.5], "time": [True], "offer": ["data"], "channel": [1]}
    pd.DataFrame(row).to_parquet(tmp_path / "a.parquet")
    found = problems(tmp_path / "a.parquet", ledger, events.import_contacts)
    assert [line.split(" has")[0].split("column ")[1] for line in found] == [
        "subscriber", "time", "channel",
    ]  # fmt: skip
    (tmp_path / "b.parquet").write_text("no")
    assert "cannot be read as Parquet" in problems(tmp_path / "b.parquet", ledger)[0]


@pytest.mark.parametrize(
    ("keys", "kind"), [(["1", "2"], "int64"), (["01", "2"], "string"), (["a", "2"], "string")]
)
def test_keys_of_a_new_ledger_are_whole_numbers_where_all_are(tmp_path, keys, kind):
    path = tmp_path / "a.csv"
    lines = [f"{key},2026-10-02,data,sms" for key in keys]
    path.write_text("\n".join(["subscriber,time,offer,channel", *lines]))
    events.import_contacts(path, tmp_path / "new")
    assert str(table.existing(tmp_path / "new").key) == kind


def test_a_file_of_accepts_may_leave_out_what_they_are(tmp_path, ledger):
    path = tmp_path / "a.parquet"
    row = {"subscriber": [1], "time": [DAY], "offer": ["data"], "channel": ["sms"]}
    pd.DataFrame(row).to_parquet(path)
    assert "the column outcome is missing" in problems(path, ledger)[0]
    assert events.add_outcomes(path, ledger, "accepted").rows == 1
    assert events.add_outcomes(path, ledger, "accepted").already

"""What synthetic subscribers live through: throughput, cases and advocacy follow from the rest."""

import pandas as pd
import pytest

from jobs import synthetic
from jobs.tasks import SerialTasks
from tests.test_synthetic import tables

SUBSCRIBERS = 20_000


@pytest.fixture(scope="module")
def operator(tmp_path_factory):
    """Return the tables of a synthetic operator, by name."""
    folder = tmp_path_factory.mktemp("operator")
    synthetic.generate(folder, SUBSCRIBERS, 90, 5, SerialTasks())
    return tables(folder)


def happened(operator, table, **kinds):
    """Return the rows of a table of a kind, with the subscriber's own columns beside."""
    rows = operator[table]
    for column, value in kinds.items():
        rows = rows[rows[column] == value]
    return rows.merge(operator["subscribers"], on="subscriber")


def test_throughput_suffers_from_trouble_and_only_smartphones_sample_it(operator):
    rows = happened(operator, "speed")
    assert rows["smartphone"].all() and (rows["mbps"] > 0).all()
    assert 3 < len(rows) / operator["subscribers"]["smartphone"].sum() < 6
    middle = rows.groupby("kind")["mbps"].median()
    assert middle["3g"] < middle["4g"] < middle["5g"]
    network = operator["network"].sort_values("time")
    last = pd.merge_asof(
        rows.sort_values("time"), network[["subscriber", "time", "severity"]],
        on="time", by="subscriber", tolerance=pd.Timedelta("1D"),
    )  # fmt: skip
    usual = last["mbps"] / last["kind"].map(middle)
    troubled = last["severity"].notna()
    assert usual[troubled].median() < 0.75 * usual[~troubled].median()


def test_a_case_follows_a_contact_and_most_are_resolved_later(operator):
    opened, resolved = (happened(operator, "cases", kind=k) for k in ("opened", "resolved"))
    assert 0.7 < len(resolved) / len(opened) < 0.95
    care = operator["care"].sort_values("time")[["subscriber", "time", "kind"]]
    before = pd.merge_asof(
        opened[["subscriber", "time"]].sort_values("time"), care, on="time", by="subscriber",
        tolerance=pd.Timedelta("1h"),
    )  # fmt: skip
    assert before["kind"].notna().all()
    assert (before["kind"] == "complaint").mean() > 0.6
    counts = [rows["subscriber"].value_counts() for rows in (opened, resolved)]
    assert (counts[1] <= counts[0].reindex(counts[1].index)).all()
    first = [rows.groupby("subscriber")["time"].min() for rows in (opened, resolved)]
    assert (first[1] > first[0].reindex(first[1].index)).all()


def test_happier_people_score_higher(operator):
    surveys = happened(operator, "advocacy", kind="survey")
    assert set(surveys["score"]) <= set(range(11)) and surveys["score"].nunique() > 6
    others = operator["advocacy"][operator["advocacy"]["kind"] != "survey"]
    assert set(others["kind"]) == {"referral", "social"} and (others["score"] == 0).all()
    assert 0.2 < len(operator["advocacy"]) / SUBSCRIBERS < 1.5
    complaints = operator["care"][operator["care"]["kind"] == "complaint"]
    upset = surveys["subscriber"].isin(complaints["subscriber"])
    assert surveys.loc[upset, "score"].mean() < surveys.loc[~upset, "score"].mean() - 0.5
    referred = surveys["subscriber"].isin(
        operator["advocacy"].loc[operator["advocacy"]["kind"] == "referral", "subscriber"]
    )
    assert surveys.loc[referred, "score"].mean() > surveys.loc[~referred, "score"].mean() + 0.2

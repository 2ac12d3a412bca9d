"""Fatigue estimated by a job: a planted effect end to end, same bits, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from engine import score as scores
from engine import tables
from engine.errors import DataError
from engine.fatigue_estimates import estimates
from engine.limit_problems import problems as limit_problems
from engine.profile import kinds
from engine.settings import Job, load
from jobs import what_if
from jobs.allocate import allocate
from jobs.check import check
from jobs.explain import explain
from jobs.fatigue import filled
from jobs.manifest import input_hashes
from jobs.run_folder import run_job
from jobs.stages import fingerprints
from jobs.tasks import SerialTasks
from tests.modelled import AS_OF, DAY, frame, job_of, rows_of, sort
from tests.test_model_stage import run_stage

ROW = ["subscriber", "time", "offer", "channel"]
ESTIMATE = {"value": 20.0, "chance": 0.6, "recovery": 0.5, "strata": ["segment", "offer"]}
ITEM = {"of": "tired", "borders": [1, 2.5], "estimate": ESTIMATE}
SLOPE = 0.6


def job_with(*items, **changes):
    """The tiny job with a state that contacts add to, and items of fatigue."""
    tiny = job_of(max_contacts=20_000).model_dump(mode="json", exclude_unset=True)
    state = {"op": "decayed_sum", "name": "tired", "of": "contacts", "half_life": "7d"}
    known = {"op": "expression", "name": "twice", "sql": "2 * balance"}
    more = {"features": [*tiny["features"], state, known], "holdout_share": 0.0}
    return Job.model_validate({**tiny, **more, "fatigue": list(items or [ITEM]), **changes})


def tired_world(subscribers=700, seed=3):
    """Subscribers of two segments; those easier to win are contacted more, and tire by contacts."""
    rng = np.random.default_rng(seed)
    contacts, outcomes = [], []
    keys = np.arange(subscribers) * 3
    easy = rng.random(subscribers) < 0.5
    for key, is_easy in zip(keys, easy, strict=True):
        days = np.sort(rng.choice(np.arange(8, 60), 12 if is_easy else 4, replace=False))[::-1]
        state, before = 0.0, None
        for t in AS_OF - days * DAY:
            if before is not None:
                state = (state + 1.0) * 0.5 ** ((t - before) / (7 * DAY))
            offer, channel = rng.choice(["data", "voice"]), rng.choice(["sms", "push"])
            contacts.append((key, t, offer, channel))
            if rng.random() < 1 / (1 + np.exp(0.8 - 1.6 * is_easy + SLOPE * state)):
                outcomes.append((key, t + 3_600, offer, channel))
            before = t
    usage = [(key, AS_OF - DAY, 1.0) for key in keys]
    events = {"usage": frame(usage, ["subscriber", "time", "mb"]),
              "contacts": frame(contacts, ROW), "outcomes": frame(outcomes, ROW)}  # fmt: skip
    segment = pd.Series(np.where(easy, "easy", "hard")).astype("str")
    own = pd.DataFrame({"subscriber": keys, "segment": segment, "balance": np.ones(subscribers)})
    return own, {name: sort(table) for name, table in events.items()}


def split(subscribers, events, count):
    """Deal subscribers to partitions."""

    def own(table, k):
        return table[table["subscriber"] // 3 % count == k].reset_index(drop=True)

    return [(own(subscribers, k), {n: own(e, k) for n, e in events.items()}) for k in range(count)]


def read(folder):
    return json.loads((folder / "score" / "fatigue.json").read_text())["items"]


def test_a_planted_effect_is_found_and_allocated_by(tmp_path):
    job = job_with()
    world = tired_world()
    contacts = len(world[1]["contacts"])
    summary, _ = run_stage(tmp_path, job, [world])
    (found,) = read(tmp_path)
    assert summary["fatigue"] == [found] and found["contacts"] == contacts
    for told in found["channels"]:
        assert told["low"] < SLOPE < told["high"] and told["high"] - told["low"] < 0.4
        assert min(told["cost"]) > 0
    assert sum(told["contacts"] for told in found["channels"]) == contacts
    pooled = run_stage(
        tmp_path / "pooled", job_with({**ITEM, "estimate": {**ESTIMATE, "strata": []}}), [world]
    )[0]
    assert all(told["high"] < SLOPE for told in pooled["fatigue"][0]["channels"])
    stages = {name: tmp_path / name for name in ("ingest", "profile", "score")}
    results = []
    stated = filled(job, tmp_path / "score")
    assert [state.estimate for state in stated.fatigue] == [None]
    for number, each in enumerate((job, stated)):
        folder = tmp_path / f"allocate{number}"
        folder.mkdir()
        results.append(allocate(each, stages, folder, SerialTasks()))
        assert results[-1]["certified"] and results[-1]["fatigue"]["cost"] > 0
    assert results[0]["value"] == results[1]["value"]
    assert results[0]["fatigue"] == results[1]["fatigue"]


def test_partitions_change_no_bit(tmp_path):
    world = tired_world(300)
    run_stage(tmp_path / "one", job_with(), [world])
    run_stage(tmp_path / "three", job_with(), split(*world, 3))
    one, three = (tmp_path / n / "score" / "fatigue.json" for n in ("one", "three"))
    assert one.read_bytes() == three.read_bytes()


def test_the_order_of_rows_changes_no_bit():
    own, events = tired_world(300)
    own["balance"] = own["subscriber"] // 3 % 17 + 0.5
    job = job_with({**ITEM, "estimate": {**ESTIMATE, "strata": ["balance", "segment"]}})
    rows = rows_of(job, own, events)
    other = rows.sample(frac=1, random_state=1).reset_index(drop=True)
    assert estimates(job, rows) == estimates(job, other)


def test_contacts_without_a_state_are_left_out(tmp_path):
    since = {"op": "recency", "name": "since", "of": "contacts"}
    job = job_with({**ITEM, "of": "since"})
    job = Job.model_validate(
        {**job.model_dump(mode="json", exclude_unset=True), "features": [since]}
    )
    run_stage(tmp_path, job, [tired_world(300)])
    (found,) = read(tmp_path)
    assert found["without_state"] == 300  # the first of each
    assert found["contacts"] == sum(told["contacts"] for told in found["channels"])


def test_too_few_outcomes_are_refused_for_all_items(tmp_path):
    flat = {**ITEM, "of": "0 * tired"}
    with pytest.raises(DataError) as error:
        run_stage(tmp_path, job_with(flat, {**ITEM, "of": "tired - 9"}), [tired_world(300)])
    text = str(error.value)
    assert "fatigue.0.estimate: fatigue: no channel has 10 successes" in text
    assert "fatigue.1.estimate: fatigue: a state is no number >= 0" in text


def test_what_estimates_cannot_learn_from_is_told_at_once():
    bad = {**ESTIMATE, "strata": ["segmnt", "offer", "offer", "twice"]}
    job = job_with({**ITEM, "of": "tired > 2"}, {**ITEM, "of": "tired + twice + balance"},
                   {**ITEM, "estimate": bad})  # fmt: skip
    own = tired_world(5)[0]
    text = "\n".join(scores.problems(job, kinds(job, tables.schema(own))))
    assert "fatigue.0.of: should be a number expression, got a boolean" in text
    assert "fatigue.1.of: balance is not known" in text
    assert "fatigue.1.of: twice is not known" in text
    assert "fatigue.2.estimate.strata.0: unknown column segmnt" in text
    assert "fatigue.2.estimate.strata.2: offer is named twice" in text
    assert "fatigue.2.estimate.strata.3: twice is not known" in text


def test_wrong_settings_are_told_at_once():
    formula = {"kind": "formula", "formulas": {"data": "0.1", "voice": "0.1"}}
    with pytest.raises(ValueError, match=r"fatigue.0.estimate: learns from the rows"):
        job_with(scores=formula)
    with pytest.raises(ValueError) as error:
        job_with({**ITEM, "borders": [0, 2], "cost": [1, 2, 3]}, {"of": "tired", "borders": [1]})
    for text in ("estimate: comes instead of cost", "begin above 0", "or estimate"):
        assert text in str(error.value)


def test_estimates_redo_scores_and_stated_costs_allocations_alone():
    def changed(*items):
        one, other = fingerprints(job_with(), {}), fingerprints(job_with(*items), {})
        return [name for name in one if one[name] != other[name]]

    assert changed({**ITEM, "estimate": {**ESTIMATE, "chance": 0.5}}) == ["score", "allocate"]
    assert changed(ITEM, {"of": "tired", "borders": [1], "cost": [0, 1]}) == ["allocate"]


def test_costs_too_large_for_whole_numbers_are_refused(tmp_path):
    channels = [{"channel": "sms", "cost": [3e9, 0.0, 0.0]}]
    (tmp_path / "fatigue.json").write_text(json.dumps({"items": [{"channels": channels}]}))
    with pytest.raises(DataError, match="may cost 3,000,000,000 in all"):
        filled(job_with(), tmp_path)
    named = job_with(constraints=[{"name": "fatigue", "measure": "cost", "at_most": 3}])
    assert any("2 limits are called fatigue" in text for text in limit_problems(named))


def test_a_run_its_explanation_and_a_what_if_see_the_costs(tmp_path):
    own, events = tired_world(300)
    (tmp_path / "in").mkdir()
    for name, table in {"s": own, **{n[0]: e for n, e in events.items()}}.items():
        if "time" in table:
            table = table.assign(time=pd.to_datetime(table["time"], unit="s"))
        table.to_parquet(tmp_path / "in" / f"{name}.parquet")
    job = job_with(output=str(tmp_path / "runs"), cluster={"kind": "local", "workers": 1})
    tiny = job.model_dump(mode="json", exclude_unset=True)
    tiny["inputs"]["folder"] = str(tmp_path / "in")
    file = tmp_path / "job.json"
    file.write_text(json.dumps(tiny))
    loaded = load(file)
    run = run_job(loaded, input_hashes(loaded), SerialTasks(), say=str, peak_bytes=int)
    told = run.summary
    got = pd.read_parquet(run.folder / "allocations")
    key, surplus = got["subscriber"].iloc[0], got.groupby("subscriber")["surplus"].sum().iloc[0]
    assert explain(run, str(key))["surplus"] == pytest.approx(surplus, abs=1e-9)
    opened = what_if.opened(file)
    assert check(loaded).problems == []
    assert opened.job.fatigue[0].channels and opened.job.fatigue[0].estimate is None
    assert opened.session.solve().value == pytest.approx(told["value"], rel=1e-4)
    assert opened.session.solve(drop=["fatigue"]).value > told["value"]

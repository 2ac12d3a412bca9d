"""A job with every kind of constraint: its files against plain sums in pandas; what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from engine.errors import ConfigError, DataError
from engine.limit_problems import problems
from engine.settings import load
from jobs import allocate as stage
from jobs import sections
from jobs.check import check
from jobs.ingest import ingest
from jobs.profile import profile
from jobs.score import score
from jobs.tasks import SerialTasks
from tests.golden.__main__ import HERE

INPUTS = f"inputs.folder={HERE / 'inputs'}"
GOLD = "segment = 'gold'"
CONSTRAINTS = [
    {"name": "budget", "measure": "cost", "at_most": 8, "penalty": 0.8},
    {"name": "cost_per_acceptance", "ratio": {"of": "cost", "to": "acceptances"}, "at_most": 7},
    {"name": "apology_share",
     "ratio": {"of": {"measure": "contacts", "offers": ["outage_apology"]}, "to": "contacts"},
     "at_most": 0.25},
    {"name": "gold_share", "ratio": {"of": {"measure": "contacts", "where": GOLD},
                                     "to": "contacts"}, "at_least": 0.15},
    {"name": "return", "ratio": {"of": "value", "to": {"measure": "cost"}}, "at_least": 1.2345},
    {"name": "calls", "measure": "contacts", "channels": ["call"], "equals": 1},
    {"name": "range", "measure": "contacts", "at_least": 5, "at_most": 16},
    {"name": "mean_discount", "ratio": {"of": "cost", "to": "contacts"}, "enforce": False},
    {"name": "gold", "measure": "contacts", "where": GOLD, "at_most": 1, "enforce": False},
    {"name": "boosts", "measure": "contacts", "offers": ["data_boost"], "at_least": 6,
     "penalty": 0.05},
]  # fmt: skip


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Run the stages before allocate on the golden job."""
    job, tasks = load(HERE / "job.yaml", [INPUTS]), SerialTasks()
    folders = {name: tmp_path_factory.mktemp(name) for name in ("ingest", "profile", "score")}
    ingest(job, folders["ingest"], tasks)
    profile(job, folders["ingest"], folders["profile"], tasks)
    score(job, folders, folders["score"], tasks)
    return folders


def job_with(*changes, constraints=CONSTRAINTS):
    return load(HERE / "job.yaml", [INPUTS, f"constraints={json.dumps(constraints)}", *changes])


def allocate(stages, folder, *changes, constraints=CONSTRAINTS):
    return stage.allocate(job_with(*changes, constraints=constraints), stages, folder,
                          SerialTasks())  # fmt: skip


def contacts_of(stages, folder):
    """Return the written contacts with their subscribers' columns."""
    features = pd.concat(pd.read_parquet(p) for p in (stages["profile"] / "features").iterdir())
    return pd.read_parquet(folder / "allocations").merge(features, on="subscriber")


def test_every_kind_holds_in_the_files_and_is_told(stages, tmp_path):
    summary = allocate(stages, tmp_path)
    assert (summary["status"], summary["certified"]) == ("OPTIMAL", True)
    got = contacts_of(stages, tmp_path)
    gold, offer = got["segment"] == "gold", got["offer"]
    rows = {row["name"]: row for row in summary["constraints"]}
    certificate = json.loads((tmp_path / "certificate.json").read_text())
    told = {row["name"]: row for row in certificate["constraints"] + certificate["measured"]}
    cost, accepts, count = got["cost"].sum(), got["propensity"].sum(), len(got)
    uses = {
        "budget": (cost, None),
        "cost_per_acceptance": (cost, accepts),
        "apology_share": ((offer == "outage_apology").sum(), count),
        "gold_share": (gold.sum(), count),
        "return": (got["value"].sum(), cost),
        "calls": ((got["channel"] == "call").sum(), None),
        "range": (count, None),
        "range:minimum": (count, None),
        "mean_discount": (cost, count),
        "gold": (gold.sum(), None),
        "boosts": ((offer == "data_boost").sum(), None),
    }
    for name, (of, to) in uses.items():
        use = of if to is None else of / to
        for found in (rows[name], told[name]):  # sums of floats: within 1e-9 of the exact ones
            assert found["use"] == pytest.approx(use, rel=1e-9), name
            if to is not None:
                assert (found["numerator"], found["denominator"]) == pytest.approx((of, to))
    assert cost <= 7 * accepts and (offer == "outage_apology").sum() <= 0.25 * count
    assert gold.sum() >= 0.15 * count and got["value"].sum() >= 1.2345 * cost - 1e-9
    assert rows["calls"]["use"] == rows["calls:minimum"]["use"] == 1 and 5 <= count <= 16
    paid = 0.8 * max(0, cost - 8) + 0.05 * max(0, 6 - (offer == "data_boost").sum())
    assert summary["penalties"] == pytest.approx(paid, rel=1e-9) and paid > 0
    assert summary["expected_value"] == pytest.approx(got["value"].sum(), rel=1e-12)
    assert summary["value"] == pytest.approx(got["value"].sum() - paid, rel=1e-12)
    kinds = {name: rows[name]["kind"] for name in ("budget", "range", "mean_discount", "gold")}
    assert kinds == {"budget": "soft", "range": "hard", "mean_discount": "measured",
                     "gold": "measured"}  # fmt: skip
    assert rows["gold"]["price"] is None and rows["gold"]["worth"] == "measured, not enforced"
    assert 0 <= rows["budget"]["price"] <= rows["budget"]["penalty"] == 0.8
    assert told["return"]["scale"] == 2 and rows["return"]["unit"] == "EUR / EUR"
    prices = json.loads((tmp_path / "prices.json").read_text())
    assert prices["prices"] == summary["constraints"]


def test_the_report_tells_the_kinds_apart(stages, tmp_path):
    summary = allocate(stages, tmp_path)
    manifest = {"job": {"solver": {"gap_tolerance": 1e-4}}}
    (limits,) = [s for s in sections.outcome(summary, manifest) if s.id == "limits"]
    titles = [panel.title for panel in limits.panels]
    assert titles == ["Upper limits", "Minimums", "Measured, not enforced"]
    cells = {row[0]: row for panel in limits.panels for row in panel.table.rows}
    assert "budget (soft)" in cells and "soft limit may be passed at its penalty" in limits.text
    assert cells["mean_discount"][2:] == ["–", "–", "EUR / contacts"]
    value = next(f for f in sections.headline(summary) if f["name"] == "Value")
    assert "of penalties are off" in value["note"]


def test_goals_and_another_objective_are_told(stages, tmp_path):
    goals = 'goals=[{name: promises, meet: {"minimum:win_back": 1, boosts: 2}}]'
    objective = "objective={maximise: acceptances, then: {minimise: cost, within: 0.05}}"
    hard = [{k: v for k, v in c.items() if k != "penalty"} for c in CONSTRAINTS]
    hard[-1]["at_least"] = 30  # more than there are subscribers to take it
    summary = allocate(stages, tmp_path, goals, objective, constraints=hard)
    assert (summary["status"], summary["certified"]) == ("OPTIMAL", True)
    got = contacts_of(stages, tmp_path)
    promises, most = summary["stages"]
    boosts = int((got["offer"] == "data_boost").sum())
    assert promises["objective"] == {"minimise": "weighted misses", "unit": "weight"}
    kept = promises["kept"]
    missed = 4 - kept["minimum:win_back"] + 2 * (30 - kept["boosts"])
    assert promises["value"] == promises["final_value"] == missed > 0
    assert boosts >= kept["boosts"] < 30
    accepts = got["propensity"].sum()
    assert most["kept"]["kept:objective"] == pytest.approx(0.95 * most["value"], abs=1e-6)
    assert most["final_value"] == pytest.approx(accepts, rel=1e-9)
    assert accepts >= most["kept"]["kept:objective"] - 1e-9
    assert promises["bound"] <= promises["value"] and most["bound"] >= most["value"]
    assert summary["objective"] == {"minimise": "cost", "unit": "EUR"}
    assert summary["value"] == pytest.approx(got["cost"].sum(), rel=1e-9)
    assert summary["value"] >= summary["bound"]
    manifest = {"job": {"solver": {"gap_tolerance": 1e-4}}}
    (told,) = [s for s in sections.outcome(summary, manifest) if s.id == "goals"]
    assert [row[:2] for row in told.panels[0].table.rows] == [
        ["promises", "least weighted misses"], ["objective", "most acceptances"],
    ]  # fmt: skip
    names = [figure["name"] for figure in sections.headline(summary)]
    assert names[:3] == ["Least cost", "Value", "Bound"]


def test_no_constraint_at_all_is_fine(stages, tmp_path):
    none = (
        "catalogue.channels.sms.capacity=null", "catalogue.channels.email.capacity=null",
        "catalogue.channels.call.capacity=null", "catalogue.offers.win_back.minimum=null",
        "catalogue.offers.device_5g.quota=null",
    )  # fmt: skip
    summary = allocate(stages, tmp_path, *none, constraints=[])
    assert (summary["status"], summary["constraints"]) == ("OPTIMAL", [])
    assert summary["value"] == pytest.approx(contacts_of(stages, tmp_path)["value"].sum())


@pytest.mark.parametrize("count", [62, 63, 124, 125, 300])
def test_conditions_of_any_number_are_told_apart(stages, tmp_path, count):
    """The last one's bit works, in whichever word it is."""
    rows = [
        {"name": f"c{i}", "measure": "contacts", "at_most": 40 if i < count - 1 else 1,
         "where": f"arpu > {i / 1000}"}
        for i in range(count)
    ]  # fmt: skip
    summary = allocate(stages, tmp_path, "catalogue.offers.win_back.minimum=null",
                       constraints=rows)  # fmt: skip
    assert summary["certified"]
    assert summary["constraints"][-1]["use"] == summary["contacts"] == 1


def test_too_many_groups_are_refused(stages, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.assemble.MOST_GROUPS", 2)
    rows = [{"name": f"c{i}", "measure": "contacts", "at_most": 9, "where": f"arpu > {4 * i}"}
            for i in range(4)]  # fmt: skip
    with pytest.raises(DataError, match=r"constraints: their conditions \(where\) tell \d groups"):
        allocate(stages, tmp_path, constraints=rows)


def test_conditions_of_ratios_that_match_nobody_are_named(stages, tmp_path):
    ratio = {"of": {"measure": "contacts", "where": "arpu < 0"}, "to": "contacts"}
    rows = [{"name": "none", "ratio": ratio, "at_most": 1, "where": GOLD}]
    with pytest.raises(ConfigError, match=r"constraints.none.ratio.of: matches no subscriber, got"):
        allocate(stages, tmp_path, constraints=rows)


CONTRADICTIONS = [
    ({"measure": "cost", "equals": 5, "at_most": 6}, "equals is both limits at once"),
    ({"measure": "cost"}, "has no limit: set at_most, at_least or equals, or enforce: false"),
    ({"at_most": 5}, "should have either a measure or a ratio"),
    ({"measure": "cost", "ratio": {"of": "cost", "to": "contacts"}, "at_most": 5},
     "should have either a measure or a ratio"),
    ({"measure": "cost", "at_most": 5, "penalty": 1, "enforce": False},
     "penalty has no effect with enforce: false"),
    ({"measure": "cost", "at_least": 6, "at_most": 5}, "at_least 6.0 is above at_most 5.0"),
    ({"measure": "cost", "at_most": 1e-9}, "at_most: rounds to 0, as amounts are whole"),
    ({"measure": "cost", "at_most": 5, "penalty": 0}, "penalty: input should be greater than 0"),
    ({"measure": "cost", "at_most": float("inf")}, "at_most: input should be"),
    ({"ratio": {"of": "costs", "to": "contacts"}, "at_most": 5}, "ratio.of.measure: input should"),
    ({"ratio": {"of": "cost"}, "at_most": 5}, "ratio.to: is missing; it has no default"),
    ({"ratio": {"of": {"measure": "cost", "offers": ["none"]}, "to": "contacts"}, "at_most": 5},
     "ratio.of.offers: unknown offer none"),
    ({"ratio": {"of": {"measure": "cost", "channels": ["call"]}, "to": "contacts"},
      "offers": ["data_boost"], "at_most": 5}, "ratio.of: constraint x has no action in scope"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "said"), CONTRADICTIONS)
def test_contradictions_name_the_setting(rule, said):
    with pytest.raises(ConfigError) as error:
        job_with(constraints=[rule | {"name": "x"}])
    (line,) = str(error.value).splitlines()
    assert ": constraints.0" in line and said in line


def test_several_contradictions_are_told_at_once():
    rule = {"name": "x", "equals": 1, "at_least": 3, "at_most": 2, "penalty": 1, "enforce": False}
    with pytest.raises(ConfigError) as error:
        job_with(constraints=[rule])
    assert len(str(error.value).splitlines()) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("objective={maximise: cost, minimise: cost}", "should have either maximise or minimise"),
        ("objective={then: {within: 0.1}}", "should have either maximise or minimise"),
        ("objective={then: {maximise: cost, within: 1.5}}", "within: input should be less than"),
        ("goals=[{name: g}]", "goal g should have one of meet, maximise and minimise"),
        ("goals=[{name: g, meet: {budget: 1}, within: 0.1}]", "within only goes with maximise"),
        ("goals=[{name: g, maximise: cost}, {name: g, minimise: cost}]", "goals: g is named twice"),
        ("catalogue.offers.data_boost.value=1.0e-9", "value: rounds to 0, as amounts are whole"),
    ],
)
def test_wrong_goals_name_the_setting(change, said):
    with pytest.raises(ConfigError) as error:
        job_with(change)
    assert said in str(error.value)


IMPOSSIBLE = [
    ({"ratio": {"of": "cost", "to": "value"}, "at_most": 1}, "ratio.to: value may be negative"),
    ({"measure": "value", "offers": ["data_boost"], "at_least": 1},
     "at_least 1 cannot be reached: no action in scope adds to value"),
    ({"ratio": {"of": "cost", "to": "cost"}, "at_most": 1e12}, "out of range: a contact may add"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "said"), IMPOSSIBLE)
def test_limits_that_nothing_can_meet_are_problems(rule, said):
    job = job_with("catalogue.offers.data_boost.value=1", constraints=[rule | {"name": "x"}])
    (problem,) = problems(job)
    assert problem.startswith("constraints.x: ") and said in problem


@pytest.mark.parametrize(
    ("meet", "said"),
    [
        ("{nothing: 1}", "goals.g.meet.nothing: unknown limit; there are capacity:sms, "),
        ("{cost_per_acceptance: 1}", "goals.g.meet.cost_per_acceptance: is a ratio; goals meet"),
        ("{budget: 1}", "goals.g.meet.budget: has a penalty too; leave one of them out"),
    ],
)
def test_goals_that_cannot_meet_a_limit_are_problems(meet, said):
    (problem,) = problems(job_with(f"goals=[{{name: g, meet: {meet}}}]"))
    assert problem.startswith(said)


def test_a_limit_is_met_by_one_goal_and_names_are_their_own():
    twice = "goals=[{name: objective, meet: {calls: 1}}, {name: b, meet: {calls: 1}}]"
    rule = {"name": "kept:b", "measure": "cost", "at_most": 1}
    found = problems(job_with(twice, constraints=[*CONSTRAINTS, rule]))
    assert [line.split(":")[0] for line in found] == [
        "constraints.kept", "goals.objective", "goals.objective.meet.calls", "goals.b.meet.calls",
    ]  # fmt: skip


def test_amounts_from_a_millionth_to_a_thousand_million_are_exact(stages, tmp_path):
    """Values of 0.000001 and of 1e9 side by side: sums do not wrap, and the certificate agrees."""
    changes = (
        "catalogue.offers.data_boost.value=0.000001", "catalogue.offers.data_boost.cost=0",
        "catalogue.offers.win_back.value=1.0e9", "catalogue.offers.win_back.cost=0.000001",
        "catalogue.channels.sms.unit_cost=0", "catalogue.weight='1000'",
    )  # fmt: skip
    rules = [
        {"name": "spent", "measure": "value", "at_most": 1e12, "at_least": 0.000001},
        {"name": "roi", "ratio": {"of": "value", "to": "contacts"}, "at_least": 0.5},
    ]
    summary = allocate(stages, tmp_path, *changes, constraints=rules)
    assert summary["certified"] and summary["status"] == "OPTIMAL"
    got = contacts_of(stages, tmp_path)
    assert summary["expected_value"] == pytest.approx(got["value"].sum(), rel=1e-12)
    assert np.isfinite(summary["bound"]) and summary["value"] > 1e11


FATIGUE = [
    {"of": "contacted_days_sms", "borders": [10, 40], "cost": [0.5, 0.25, 0], "channels": {
        "call": [1, 0.75, 0.5]}},
    {"of": "network_trouble", "borders": [0.5], "channels": {"sms": [0, 0.125]}},
]  # fmt: skip


def annoyance(got):
    """Return what each written contact costs, by the settings."""
    level = np.searchsorted([10, 40], got["contacted_days_sms"], side="right")
    call = got["channel"] == "call"
    each = np.where(call, np.array([1, 0.75, 0.5])[level], np.array([0.5, 0.25, 0])[level])
    each = np.where(got["contacted_days_sms"].isna(), 0.0, each)
    return each + np.where((got["channel"] == "sms") & (got["network_trouble"] >= 0.5), 0.125, 0)


def with_fatigue(stages, folder, *changes, constraints=()):
    return allocate(stages, folder, f"fatigue={json.dumps(FATIGUE)}", *changes,
                    constraints=list(constraints))  # fmt: skip


def test_fatigue_is_told_by_itself_and_taken_off_the_value(stages, tmp_path):
    summary = with_fatigue(stages, tmp_path)
    got = contacts_of(stages, tmp_path)
    each = annoyance(got)
    spent = {name: each[got["channel"] == name].sum() for name in ("sms", "email", "call")}
    certificate = json.loads((tmp_path / "certificate.json").read_text())
    assert summary["fatigue"] == certificate["fatigue"] == {
        "cost": each.sum(), "unit": "EUR", "channels": spent}  # fmt: skip
    assert (summary["certified"], summary["penalties"]) == (True, 0.0) and each.sum() > 0
    assert summary["value"] == pytest.approx(got["value"].sum() - each.sum(), rel=1e-12)
    row = summary["constraints"][-1]
    assert (row["name"], row["kind"], row["price"], row["at_most"]) == ("fatigue", "cost", 1, None)
    assert json.loads((tmp_path / "prices.json").read_text())["prices"][-1] == row
    manifest = {"job": {"solver": {"gap_tolerance": 1e-4}}}
    told = {s.id: s for s in sections.outcome(summary, manifest)}
    cells = {row[0]: row for row in told["fatigue"].panels[0].table.rows}
    assert list(cells) == ["sms", "email", "call", "all"]
    assert cells["all"][1] == str(len(got))
    named = [row[0] for panel in told["limits"].panels for row in panel.table.rows]
    assert "fatigue" not in named and named
    value = next(f for f in sections.headline(summary) if f["name"] == "Value")
    assert "of fatigue are off" in value["note"]


def test_without_its_cost_the_value_less_fatigue_is_less(stages, tmp_path):
    for folder in ("with", "without"):
        (tmp_path / folder).mkdir()
    priced = with_fatigue(stages, tmp_path / "with")
    free = allocate(stages, tmp_path / "without", constraints=[])
    assert "fatigue" not in free
    got = contacts_of(stages, tmp_path / "without")
    assert free["contacts"] >= priced["contacts"]
    assert got["value"].sum() - annoyance(got).sum() < priced["value"] < free["value"]


def test_goals_come_before_fatigue_and_what_comes_then_keeps_it(stages, tmp_path):
    goals = 'goals=[{name: promises, meet: {"minimum:win_back": 1}}]'
    then = "objective={maximise: value, then: {maximise: acceptances, within: 0.05}}"
    summary = with_fatigue(stages, tmp_path, goals, then)
    assert (summary["status"], summary["certified"]) == ("OPTIMAL", True)
    kept = summary["stages"][1]["kept"]
    spent = annoyance(contacts_of(stages, tmp_path)).sum()
    assert summary["fatigue"]["cost"] == spent <= kept["fatigue"]
    row = {row["name"]: row for row in summary["constraints"]}["fatigue"]
    assert (row["kind"], row["at_most"], row["unit"]) == ("hard", kept["fatigue"], "EUR")


def test_fatigue_of_no_number_is_refused_with_its_place(stages):
    job = job_with(
        'fatigue=[{of: "segment", borders: [1], cost: [0, 1]}, {of: nowhere, borders: [1], '
        "cost: [0, 1]}]", constraints=[],
    )  # fmt: skip
    found = check(job).problems
    assert any(text.startswith("fatigue.0.of: should be a number") for text in found)
    assert any(text.startswith("fatigue.1.of") and "nowhere" in text for text in found)

"""Jobs of wrong or extreme numbers, as a user meets them: by the commands, on the golden job."""

import json

import pandas as pd
import pytest
import yaml

from jobs.stages import STORE
from tests.test_bad_input import bits, copied, made, sets
from tests.test_cli import runs_in, walras

RANGE = "constraints=[{name: r, measure: cost, %s}]"
SETTINGS = {
    "a limit that is NaN": (["constraints.budget.at_most=.nan"], "0.at_most: ", "finite", "nan"),
    "a limit without end": (["constraints.budget.at_most=.inf"], "0.at_most: ", "finite", "inf"),
    "a limit below 0": (["constraints.budget.at_most=-1"], "0.at_most: ", "or equal to 0", "-1"),
    "a limit in words": (["constraints.budget.at_most=lots"], "0.at_most: ", "number", "'lots'"),
    "a limit that is yes": (["constraints.budget.at_most=true"], "0.at_most: ", "number", "True"),
    "a limit that vanishes": (
        ["constraints.budget.at_most=1e-9"], "0.at_most: rounds to 0", "0.000001", "1e-09",
    ),
    "a limit too large": (["constraints.budget.at_most=1e13"], "0.at_most: ", "1000000000000"),
    "a range without a bound": ([RANGE % "at_most: null"], "constraint r: has no limit", "equals"),
    "a range upside down": ([RANGE % "at_most: 1, at_least: 2"], "at_least 2.0 is above at_most 1"),
    "a range and an equation": ([RANGE % "at_most: 1, equals: 1"], "equals is both limits at once"),
    "a minimum above its quota": (
        ["catalogue.offers.win_back.quota=3"], "win_back: minimum 4 is above quota 3",
    ),
    "half a contact": (["catalogue.channels.sms.capacity=1.5"], "sms.capacity: ", "integer", "1.5"),
    "a value that is NaN": (["catalogue.offers.win_back.value=.nan"], "win_back.value: ", "nan"),
    "a value without end": (["catalogue.offers.win_back.value=.inf"], "win_back.value: ", "inf"),
    "a value below 0": (["catalogue.offers.win_back.value=-1"], "win_back.value: ", "equal to 0"),
    "a value too large": (["catalogue.offers.win_back.value=2e9"], "win_back.value: ", "10000000"),
    "a value that vanishes": (
        ["catalogue.offers.win_back.value=1e-9"], "win_back.value: rounds to 0", "1e-09",
    ),
    "a cost below 0": (["catalogue.channels.sms.unit_cost=-0.1"], "sms.unit_cost: ", "equal to 0"),
    "a penalty without end": (["constraints.budget.penalty=.inf"], "0.penalty: ", "finite"),
    "a penalty of 0": (["constraints.budget.penalty=0"], "0.penalty: ", "greater than 0"),
    "a weight of a goal": (
        ['goals=[{name: g, meet: {"minimum:win_back": .nan}}]'], "minimum:win_back: ", "nan",
    ),
    "a tolerance": (["solver.gap_tolerance=.nan"], "solver.gap_tolerance: ", "nan"),
    "a time limit": (["solver.time_limit_s=.inf"], "solver.time_limit_s: ", "finite"),
    "a hold-out of all": (["holdout_share=1"], "holdout_share: ", "less than 1"),
    "a cap beyond a byte": (["policies.two_offers.at_most=256"], "policies.0.at_most: ", "255"),
    "a policy above the others": (
        ["policies=[{name: both, exactly: 2}, {name: one, at_most: 1}]"],
        "policies.both: exactly 2 is more than the policies and offers ever leave a subscriber, 1",
    ),
    "policies that differ": (
        ["policies=[{name: one, exactly: 1}, {name: two, exactly: 2}]"], "policies.two: exactly 2",
    ),
    "all or nothing above a cap": (
        ["policies=[{name: many, at_least: 3}, {name: two, at_most: 2, within: 7d}]"],
        "policies.many: at_least 3 is more than the policies and offers ever leave a subscriber, 2",
    ),
    "a minimum of what nothing adds to": (
        [RANGE % "at_least: 1, channels: [sms], offers: [data_boost]",
         "catalogue.channels.sms.unit_cost=0", "catalogue.offers.data_boost.cost=0"],
        "constraints.r: at_least 1 cannot be reached: no action in scope adds to cost",
    ),
    "a ratio by what may be negative": (
        ["constraints=[{name: r, ratio: {of: cost, to: value}, at_most: 1}]"],
        "constraints.r: ratio.to: value may be negative",
    ),
    "a ratio beyond 64 bits": (
        ["constraints=[{name: r, ratio: {of: value, to: cost}, at_least: 3.123457}]",
         "catalogue.offers.win_back.cost=1e9"],
        "constraints.r: out of range: a contact may add ", "at most 2,251,799,814 are exact",
    ),
    "a scope of an unknown column": (
        ["constraints.gold_contacts.where=sgmnt = 'gold'"],
        "gold_contacts.where: unknown column sgmnt", "did you mean segment? there are", "arpu",
    ),
    "a scope by text as a number": (
        ["constraints.gold_contacts.where=segment > 3"], "where: > mixes text and number",
    ),
    "a weight of text": (["catalogue.weight=segment"], "weight: should be a number expression"),
    "a consent that is a number": (
        ["catalogue.channels.sms.consent=arpu"], "sms.consent: should be a boolean column, got arp",
    ),
}  # fmt: skip


@pytest.fixture
def job(tmp_path):
    """Copy the golden job with its inputs; return its path."""
    return copied(tmp_path)


def allocated(job, *changes):
    """Allocate; return the summary."""
    result = walras("allocate", job, "--json", "--quiet", *sets(*changes))
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["summary"]


def wrong(job, *changes, command="allocate"):
    """Allocate what is wrong; return what is said, after seeing that nothing is left."""
    result = walras(command, job, "--quiet", *sets(*changes))
    assert result.exit_code == 2 and "Traceback" not in result.stderr, result.stderr
    output = job.parent / "runs"
    assert runs_in(output) == [] and not list((output / STORE).glob("allocate-*"))
    assert not list(output.rglob(".tmp-*"))
    return result.stderr


@pytest.mark.parametrize("case", SETTINGS)
def test_a_wrong_setting_is_one_line_with_the_file_before_anything_runs(job, case):
    changes, *said = SETTINGS[case]
    for command in ("check", "allocate"):
        result = walras(command, job, *sets(*changes))
        assert result.exit_code == 2, result.stderr
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"error: {job}: ")
        assert all(text in line for text in said), line
    assert not (job.parent / "runs").exists() or not list((job.parent / "runs" / STORE).iterdir())


def test_all_wrong_settings_are_told_at_once(job):
    said = wrong(
        job, "constraints.budget.at_most=.nan", "catalogue.offers.win_back.value=-1",
        "holdout_share=2", "catalogue.channels.sms.capacity=1.5", command="run",
    )  # fmt: skip
    assert len(said.splitlines()) == 4
    said = wrong(
        job, "constraints.gold_contacts.where=sgmnt = 'gold'", "catalogue.weight=segment",
        "catalogue.offers.win_back.eligible=foo > 1", "catalogue.channels.sms.consent=nope",
        "scores.formulas.win_back=bar",
    )  # fmt: skip
    assert len(said.splitlines()) == 5
    assert all(line.startswith(f"error: {job}: ") for line in said.splitlines())


def test_wrong_numbers_in_a_column_are_counted_over_all_partitions(job):
    path = job.parent / "inputs" / "subscribers.csv"
    people = pd.read_csv(path).sort_values("subscriber", ignore_index=True)
    for row, text in ((3, "1000.5"), (7, "-3"), (9, None)):
        people["score"] = people.get("score", pd.Series(["0.1"] * len(people)))
        people.loc[row, "score"] = text
    people.sample(frac=1, random_state=1).to_csv(path, index=False)
    names = ("data_boost", "win_back", "outage_apology", "device_5g")
    columns = dict.fromkeys(names, "score")
    said = wrong(job, f"scores={json.dumps({'kind': 'columns', 'columns': columns})}")
    lines = said.splitlines()
    assert len(lines) == 9  # an action each
    assert all("is wrong for 3 subscribers, got 1000.5 for subscriber" in line for line in lines)
    assert all(str(people["subscriber"][3]) in line for line in lines)
    said = wrong(job, "catalogue.weight=score")
    assert "catalogue.weight: score: the weight is wrong for 3 subscribers, got 1000.5 for" in said
    assert str(people["subscriber"][3]) in said and "a number from 0 to 1000" in said


@pytest.mark.parametrize("table", ["csv", "parquet"])
def test_infinite_numbers_of_subscribers_are_named_by_file_column_and_row(job, table):
    path = job.parent / "inputs" / "subscribers.csv"
    people = pd.read_csv(path, parse_dates=["activated_at"])
    people.loc[[3, 5], "arpu"] = [float("inf"), float("-inf")]
    people.loc[7, "balance"] = float("inf")
    other = path.with_suffix(f".{table}")
    people.to_csv(path, index=False) if table == "csv" else people.to_parquet(other)
    said = wrong(job, f"inputs.subscribers.path={other.name}").splitlines()
    assert [line.partition("subscribers.")[2] for line in said] == [
        f"{table}: column {column}: {count} values are infinite, the first in row {row}; allowed "
        "are finite numbers, or null where there is none"
        for column, count, row in (("balance", 1, 7), ("arpu", 2, 3))
    ]


def test_a_weight_that_vanishes_is_refused(job):
    said = wrong(job, "catalogue.weight=arpu * 1e-9")
    assert "the weight is wrong for 40 subscribers, got " in said
    assert "and 0 or more than half of 1/1024, the grid it is rounded to" in said


def test_a_scope_of_nobody_is_refused_where_it_is_enforced_and_measured_where_not(job):
    nobody = "constraints.gold_contacts.where=arpu > 99999"
    said = wrong(job, nobody, "constraints.budget.where=region = 'nowhere'", command="run")
    assert [line.split(": ")[2] for line in said.splitlines()] == [
        "constraints.budget.where", "constraints.gold_contacts.where",
    ]  # fmt: skip
    assert all("matches no subscriber, got" in line for line in said.splitlines())
    rows = allocated(job, nobody, "constraints.gold_contacts.enforce=false")["constraints"]
    (row,) = [row for row in rows if row["name"] == "gold_contacts"]
    assert (row["kind"], row["use"]) == ("measured", 0)


def test_a_level_beyond_64_bits_is_refused_before_its_search(job):
    said = wrong(
        job, "goals=[{name: most, maximise: value}]", "catalogue.offers.win_back.value=1e9",
        'catalogue.weight="1000"',
    )  # fmt: skip
    assert "goals.most: the value reached cannot be kept exactly: the largest weight 1000 " in said
    assert "is above 2,251,799,814; take smaller or rounder weights" in said


def freed(job, **settings):
    """Take every limit of the job away, and set some settings."""
    content = yaml.safe_load(job.read_text())
    content["constraints"] = []
    for channel in content["catalogue"]["channels"].values():
        channel.pop("capacity", None)
    for offer in content["catalogue"]["offers"].values():
        for name in ("quota", "minimum"):
            offer.pop(name, None)
    content |= settings
    job.write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_without_constraints_everyone_gets_the_best_bundle(job, exact_pairs):
    freed(job)
    summary = allocated(job, f"solver.exact_pairs={exact_pairs}")
    assert (summary["status"], summary["constraints"]) == ("OPTIMAL", [])
    assert summary["gap"] < 1e-9 and summary["contacts"] > 40
    certificate = json.loads((made(job) / "certificate.json").read_text())
    assert certificate["certified"] and certificate["constraints"] == []


@pytest.mark.parametrize(
    "nobody", ["holdout_share=0.999999", "policies=[{name: freeze, at_most: 0}]"]
)
def test_where_nobody_may_be_contacted_nobody_is(job, nobody):
    freed(job)
    summary = allocated(job, nobody)
    assert (summary["status"], summary["contacts"], summary["value"]) == ("OPTIMAL", 0, 0)


@pytest.mark.parametrize("partitions", [1, 9])
def test_one_subscriber(job, partitions):
    freed(job, holdout_share=0)
    path = job.parent / "inputs" / "subscribers.csv"
    people = pd.read_csv(path)
    people[people["consent_email"] & people["smartphone"]][:1].to_csv(path, index=False)
    summary = allocated(job, "inputs.max_reject_share=1", f"inputs.partitions={partitions}")
    assert (summary["status"], summary["subscribers"], summary["contacted"]) == ("OPTIMAL", 1, 1)


def test_history_beyond_every_cap_leaves_nothing_and_says_which_policy(job):
    path = job.parent / "inputs" / "contacts.csv"
    people = pd.read_csv(job.parent / "inputs" / "subscribers.csv")["subscriber"]
    with path.open("a") as history:
        for subscriber in people:  # more than a byte counts
            history.writelines(f"{subscriber},2026-09-30T00:00:0{i % 10}Z,win_back,sms\n"
                               for i in range(300))  # fmt: skip
    weekly = "policies=[{name: weekly, at_most: 2, within: 7d}]"
    result = walras("allocate", job, "--json", "--quiet", *sets(weekly))
    assert result.exit_code == 3  # minimums cannot be met by anybody
    assert "minimum:win_back: limit 4; relaxing it alone takes 4" in result.stderr
    freed(job)
    summary = allocated(job, weekly)
    assert (summary["status"], summary["contacts"]) == ("OPTIMAL", 0)
    (folder,) = [p for p in (job.parent / "runs" / STORE).glob("allocate-*")
                 if "INFEASIBLE" not in (p / "certificate.json").read_text()]  # fmt: skip
    left = pd.read_parquet(folder / "decisions")
    assert set(left.loc[left["reason"] == "policy", "detail"]) == {"weekly"}


def equal(job):
    """Make all offers and subscribers worth the same, and limits bind."""
    content = yaml.safe_load(job.read_text())
    for offer in content["catalogue"]["offers"].values():
        offer |= {"value": 3, "cost": 0}
        offer.pop("eligible", None)
    for channel in content["catalogue"]["channels"].values():
        channel |= {"unit_cost": 0}
        channel.pop("consent")
    content["constraints"] = [{"name": "few", "measure": "contacts", "at_most": 17}]
    formulas = dict.fromkeys(content["catalogue"]["offers"], "0.1")
    content["scores"] = {"kind": "formula", "formulas": formulas}
    job.write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_ties_give_the_same_bits_for_any_rows_and_partitions(tmp_path, exact_pairs):
    answers = []
    for partitions in (1, 5):
        (tmp_path / str(partitions)).mkdir()
        job = copied(tmp_path / str(partitions))
        equal(job)
        path = job.parent / "inputs" / "subscribers.csv"
        people = pd.read_csv(path).sample(frac=1, random_state=partitions)
        people.to_csv(path, index=False)
        changes = (f"inputs.partitions={partitions}", f"solver.exact_pairs={exact_pairs}")
        summary = allocated(job, *changes)
        assert (summary["status"], summary["contacts"]) == ("OPTIMAL", 17)
        answers.append(bits(made(job)))
    assert answers[0] == answers[1] and len(answers[0]) == 4


def test_values_from_a_millionth_to_a_thousand_million_are_certified(job):
    summary = allocated(
        job, "catalogue.offers.win_back.value=1e9", "catalogue.offers.data_boost.value=0.000001",
        "catalogue.offers.data_boost.cost=0", 'catalogue.weight="1000"',
        "constraints.budget.at_most=1e12",
    )  # fmt: skip
    assert summary["certified"] and summary["status"] == "OPTIMAL" and summary["value"] > 1e12
    certificate = json.loads((made(job) / "certificate.json").read_text())
    assert certificate["agrees"] and certificate["gap"] >= 0


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_the_dearest_money_per_unit_is_certified(job, exact_pairs):
    """A budget of five millionths, each worth 10^18: prices have no range of their own."""
    content = yaml.safe_load(job.read_text())
    for offer in content["catalogue"]["offers"].values():
        offer |= {"value": 1e9, "cost": 0, "minimum": None}
    for channel in content["catalogue"]["channels"].values():
        channel["unit_cost"] = 1e-6
    content["constraints"] = [{"name": "budget", "measure": "cost", "at_most": 5e-6}]
    content["catalogue"]["weight"] = "1000"
    job.write_text(yaml.safe_dump(content, sort_keys=False))
    summary = allocated(job, f"solver.exact_pairs={exact_pairs}")
    assert (summary["status"], summary["contacts"]) == ("OPTIMAL", 5)
    assert summary["certified"] and summary["gap"] < 1e-9


def test_a_penalty_far_above_every_value_is_as_good_as_a_hard_limit(job):
    hard = allocated(job, "solver.exact_pairs=0")
    soft = allocated(job, "solver.exact_pairs=0", "constraints.budget.penalty=1e9")
    assert soft["value"] == hard["value"] and soft["gap"] < 1.01 * hard["gap"]


def test_what_to_relax_is_told_to_the_last_cent(job):
    result = walras("allocate", job, "--quiet", *sets("catalogue.offers.win_back.cost=1e9"))
    assert result.exit_code == 3
    assert "raise it by at least 63,999,879.41, to 63,999,891.41" in result.stderr

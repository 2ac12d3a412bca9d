"""The job file: what is accepted, what is refused, and how it is said."""

from datetime import UTC, datetime
from pathlib import Path
from typing import get_type_hints

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from engine.assemble import assemble
from engine.candidates import candidates
from engine.errors import ConfigError
from engine.history import History
from engine.limits import MICRO
from engine.problem import MOST_WEIGHT
from engine.settings import Job, load, parse
from engine.settings.base import SECONDS, Duration, Settings, seconds
from engine.settings.policies import KINDS
from jobs.reference import settings_reference
from kernels.choose import WEIGHT_GRID

ROOT = Path(__file__).parents[1]
JOB = """
name: tiny
as_of: 2026-10-01T00:00:00Z
inputs:
  folder: in
  subscribers: {path: subscribers.parquet}
  events:
    usage: {path: usage/*.parquet, values: {charge: {unit: money, minimum: 0}}}
  contacts: {path: c/*, categories: [offer, channel]}
features:
  - {op: sum, name: spend, of: usage.charge, windows: [7d, 30d]}
  - {op: recency, name: quiet_days, of: usage}
scores: {kind: formula, formulas: {data: "0.1"}}
catalogue:
  currency: EUR
  channels: {sms: {unit_cost: 0.1}, email: {}}
  offers: {data: {category: data, value: 5, channels: [sms, email]}}
policies:
  - {name: one, at_most: 1}
constraints:
  - {name: budget, measure: cost, at_most: 100}
"""


def refused(text, *changes):
    with pytest.raises(ConfigError) as caught:
        parse(text, "job.yaml", changes)
    return str(caught.value).split("\n")


def test_a_small_job_and_its_defaults():
    job = parse(JOB, "job.yaml")
    assert job.as_of == datetime(2026, 10, 1, tzinfo=UTC)
    assert job.inputs.partitions == 8 and job.cluster.kind == "local"
    assert list(job.inputs.tables()) == ["usage", "contacts"]
    assert job.output == Path("runs") and job.catalogue.channels["email"].capacity is None


@pytest.mark.parametrize("name", ["quickstart", "complete_journey", "household"])
def test_the_jobs_of_the_project_are_accepted(name):
    job = load(ROOT / "configs" / f"{name}.yaml")
    assert job.name == name
    assert Job.model_validate(job.model_dump(mode="json")) == job


def test_all_problems_are_said_at_once_with_setting_value_and_what_is_allowed():
    changes = [
        "name=Tiny", "as_of=soon", "seed=-1", "inputs.partitons=4", "inputs.folder=null",
        "features.0.windows=[0d]", "features.1.half_life=3d", "scores={kind: magic}",
        "cluster={workers: 2}", "catalogue.channels.sms.capacity=-5", "solver.gap_tolerance=0",
        "catalogue.offers.data.value=.nan", "policies.one.at_most=256", "holdout_share=1",
    ]  # fmt: skip
    changes.append("constraints.budget={name: budget, measure: cost, at_least: 9, at_most: 8}")
    assert refused(JOB, *changes) == [
        "job.yaml: name: should be a name: a-z, 0-9 and _, starting with a letter, at most 63 "
        "long, got 'Tiny'",
        "job.yaml: as_of: should be an instant, for example 2026-10-01 or 2026-10-01T12:00:00Z, "
        "got 'soon'",
        "job.yaml: seed: input should be greater than or equal to 0, got -1",
        "job.yaml: inputs.folder: input should be a valid path, got None",
        "job.yaml: inputs.partitons: unknown setting, got 4; there are contacts, events, folder, "
        "ledger, lists, max_reject_share, outcomes, partitions, source, subscribers",
        "job.yaml: features.0.windows.0: should be a duration: a whole number and s, m, h, d or w, "
        "for example 30d or 12h, got '0d'",
        "job.yaml: features.1.half_life: unknown setting, got '3d'; there are name, of, op, where",
        "job.yaml: scores.kind: should say which, got 'magic'; there are columns, formula, model",
        "job.yaml: catalogue.channels.sms.capacity: input should be greater than or equal to 0, "
        "got -5",
        "job.yaml: catalogue.offers.data.value: input should be a finite number, got nan",
        "job.yaml: policies.0.at_most: input should be less than or equal to 255, got 256",
        "job.yaml: constraints.0: constraint budget: at_least 9.0 is above at_most 8.0",
        "job.yaml: holdout_share: input should be less than 1, got 1",
        "job.yaml: solver.gap_tolerance: input should be greater than 0, got 0",
        "job.yaml: cluster.kind: should say which, got None; there are address, local, local-cuda",
    ]


def test_disagreements_between_settings_are_said_at_once():
    assert refused(
        JOB,
        "policies=[{name: a, at_most: 1, within: 7d, per: channel, only: [fax]},"
        "{name: a, at_most: 1, only: [sms]}]",
        "constraints.0.offers=[voice, films]", "constraints.0.categories=[x]",
        "constraints.0.channels=[tv]", "features.1.name=spend", "inputs.contacts=null",
        "inputs.outcomes={path: o}", "inputs.events.outcomes={path: o}", "scores={kind: model}",
    ) == [
        "job.yaml: policies.0.only: unknown channel fax; there are email, sms",
        "job.yaml: policies.0.within: needs inputs.contacts, the contact history",
        "job.yaml: policies.1.only: goes with per: channel, category, team, offer or offers",
        "job.yaml: constraints.0.offers: unknown offer voice; there are data",
        "job.yaml: constraints.0.offers: unknown offer films; there are data",
        "job.yaml: constraints.0.categories: unknown category x; there are data",
        "job.yaml: constraints.0.channels: unknown channel tv; there are email, sms",
        "job.yaml: policies: a is named twice",
        "job.yaml: features: spend is named twice",
        "job.yaml: inputs.contacts: scores.kind model needs it",
        "job.yaml: inputs.outcomes.categories: must include offer and channel",
        "job.yaml: inputs.events.outcomes: set inputs.outcomes instead",
    ]  # fmt: skip


def test_every_mistake_in_a_policy_is_said():
    policies = (
        "{name: a}, {name: b, at_most: 1, exactly: 1}, {name: c, exclusive: [data]},"
        "{name: d, offer: data}, {name: e, offer: data, requires: [data, data]},"
        "{name: f, package: [data, voice], per: channel, within: 7d}, {name: g, at_least: 1},"
        '{name: h, quiet: "08:00-08:00"}'
    )
    kinds = ", ".join(KINDS)
    assert refused(JOB, f"policies=[{policies}]") == [
        f"job.yaml: policies.0: policy a: should have one of {kinds}, got none",
        f"job.yaml: policies.1: policy b: should have one of {kinds}, got at_most and exactly",
        "job.yaml: policies.2: policy c: exclusive needs two offers at least, got one",
        f"job.yaml: policies.3: policy d: should have one of {kinds}, got none",
        "job.yaml: policies.3: policy d: offer goes with one of requires, not_after, only_after",
        "job.yaml: policies.4: policy e: requires: data can't be beside or after itself",
        "job.yaml: policies.4: policy e: requires names data twice",
        "job.yaml: policies.5: policy f: per and only go with at_most, spacing, suppress, "
        "cool_down, quiet, blackout",
        "job.yaml: policies.5: policy f: within goes with at_most, exactly, at_least, cool_down, "
        "exclusive, not_after, only_after",
        "job.yaml: policies.6.at_least: input should be greater than or equal to 2, got 1",
        "job.yaml: policies.7.quiet: should begin and end at different times, as it holds from the "
        "first until before the second; for whole days there is blackout, got '08:00-08:00'",
    ]


def test_policies_name_offers_that_exist():
    policies = (
        "{name: a, exclusive: [data, x]}, {name: b, offer: y, requires: [z]},"
        "{name: c, package: [data, v]}, {name: d, package: [data, w]},"
        "{name: e, at_most: 1, per: offers}, {name: f, at_most: 1, per: offers, only: [u]}"
    )
    assert refused(JOB, f"policies=[{policies}]") == [
        "job.yaml: policies.0.exclusive: unknown offer x; there are data",
        "job.yaml: policies.1.requires: unknown offer z; there are data",
        "job.yaml: policies.1.offer: unknown offer y; there are data",
        "job.yaml: policies.2.package: unknown offer v; there are data",
        "job.yaml: policies.3.package: unknown offer w; there are data",
        "job.yaml: policies.4.only: per: offers needs the offers, got none",
        "job.yaml: policies.5.only: unknown offer u; there are data",
        "job.yaml: policies: offer data is in two packages; it should be in one",
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("catalogue.offers.data.channels=[]", "channels: list should have at least 1 item"),
        ("catalogue.offers={}", "offers: dictionary should have at least 1 item"),
        ("catalogue.channels={}", "channels: dictionary should have at least 1 item"),
        ("catalogue.offers.data.channels=[tv]", "unknown channel tv; the channels are sms, email"),
        ("catalogue.offers.data.channels=[sms, sms]", "data.channels: sms is named twice"),
        ("catalogue.offers.data.eligible=''", "eligible: string should have at least 1 character"),
        ("catalogue.offers.data.cost=-1", "cost: input should be greater than or equal to 0"),
        ("catalogue.offers.data.cost=.inf", "cost: input should be a finite number"),
        ("catalogue.channels.Fax={}", "channels.Fax.[key]: should be a name"),
        ("constraints.0.at_most=null", "constraint budget: has no limit: set at_most"),
        ("inputs.partitions=0", "partitions: input should be greater than or equal to 1, got 0"),
        ("inputs.partitions=8.0", "partitions: input should be a valid integer, got 8.0"),
        ("inputs.partitions='8'", "partitions: input should be a valid integer, got '8'"),
        ("inputs.partitions=true", "partitions: input should be a valid integer, got True"),
        (
            "cluster={kind: local, processes: 1}",
            "processes: input should be a valid boolean, got 1",
        ),
        ("catalogue.offers.data.value=true", "value: input should be a valid number, got True"),
        ("catalogue.currency=5", "currency: input should be a valid string, got 5"),
        ("as_of=1700000000", "as_of: should be an instant"),
        ("inputs.events.usage.values.charge.minimum=.nan", "minimum: input should be a finite"),
        ("features.0.op=kurtosis", "features.0.op: should say which, got 'kurtosis'; there are "),
        ("features.0=3", "features.0: input should be a valid dictionary"),
        (
            "features.0={name: a}",
            "features.0.op: should say which, got None; there are ",
        ),
        ("inputs.subscribers=[]", "inputs.subscribers: input should be a valid dictionary"),
        ("inputs={}", "inputs.folder: is missing; it has no default"),
    ],
)
def test_each_limit_is_kept(change, problem):
    lines = refused(JOB, change)
    assert all(line.startswith("job.yaml: ") for line in lines)
    assert problem in lines[0]


def test_limits_of_an_offer_must_agree():
    assert refused(
        JOB, "catalogue.offers.data.quota=1", "catalogue.offers.data.minimum=2",
        "catalogue.offers.data.valid_from=2026-02-01",
        "catalogue.offers.data.valid_until=2026-02-01",
    ) == [
        "job.yaml: catalogue.offers.data: minimum 2 is above quota 1",
        "job.yaml: catalogue.offers.data: valid_until 2026-02-01 00:00:00+00:00 is not after "
        "2026-02-01 00:00:00+00:00",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["1s", "9w", "30d", "999999h", "100000m", "12h"])
def test_durations(text):
    assert TypeAdapter(Duration).validate_python(text) == text
    assert seconds(text) == int(text[:-1]) * SECONDS[text[-1]]


@pytest.mark.parametrize(
    "value",
    ["", "d", "0d", "01d", "-1d", "+1d", "1", "1D", "1y", "1 d", " 1d", "1d ", "1d\n", "1.5d",
     "1000000d", "1d1h", "٣d", "1٣d", 1, 1.0, True, None, ["1d"]],
)  # fmt: skip
def test_what_is_no_duration(value):
    with pytest.raises(ValidationError, match="should be a duration"):
        TypeAdapter(Duration).validate_python(value)


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2026-10-01", datetime(2026, 10, 1, tzinfo=UTC)),
        ("2026-10-01T12:00:00Z", datetime(2026, 10, 1, 12, tzinfo=UTC)),
        ("2026-10-01 12:00:00", datetime(2026, 10, 1, 12, tzinfo=UTC)),
        ("2026-10-01T12:00:00+02:00", datetime(2026, 10, 1, 10, tzinfo=UTC)),
        ("'2026-10-01T12:00:00+02:00'", datetime(2026, 10, 1, 10, tzinfo=UTC)),
    ],
)
def test_instants_are_utc(value, instant):
    assert parse(JOB, "job.yaml", [f"as_of={value}"]).as_of == instant


@pytest.mark.parametrize(
    "value", ["1", "'1'", "1.5", "true", "[]", "'2026-13-01'", "0001-01-01T00:00:00+14:00"]
)
def test_what_is_no_instant(value):
    assert "job.yaml: as_of: should be an instant" in refused(JOB, f"as_of={value}")[0]


def test_settings_are_changed_by_path_position_and_name():
    job = parse(
        JOB, "job.yaml",
        ["seed=11", "constraints.budget.at_most=50", "policies.0.at_most=2", "solver.sample=500",
         "features.quiet_days.where=charge > 0", "catalogue.channels.push={unit_cost: 0.5}",
         "features.0.windows.1=90d", "catalogue.offers.data.eligible=a = 'b=c'", "seed=12"],
    )  # fmt: skip
    assert job.seed == 12 and job.constraints[0].at_most == 50 and job.policies[0].at_most == 2
    assert job.features[1].where == "charge > 0" and job.features[0].windows == ["7d", "90d"]
    assert job.catalogue.channels["push"].unit_cost == 0.5 and job.solver.sample == 500
    assert job.catalogue.offers["data"].eligible == "a = 'b=c'"


def test_every_wrong_change_is_said():
    assert refused(
        JOB, "seed", "=3", "constraints.money.at_most=1", "policies.7.at_most=1", "name.x=1",
        "features.0.windows.x=1d", "seed=[", "seed=*a", "name.²=1", "features.²=1",
    ) == [
        "--set seed: should be path.to.setting=value",
        "--set =3: should be path.to.setting=value",
        "--set constraints.money.at_most=1: no item money; there are budget",
        "--set policies.7.at_most=1: no item 7; there are one",
        "--set name.x=1: x is not below a group of settings",
        "--set features.0.windows.x=1d: no item x; there are 0, 1",
        "--set seed=[: is not valid YAML: while parsing a flow node expected the node content, but "
        "found '<stream end>' in \"<unicode string>\", line 1, column 2: [ ^",
        "--set seed=*a: is not valid YAML: aliases (*name) are not allowed in "
        "\"<unicode string>\", line 1, column 1: *a ^",
        "--set name.²=1: ² is not below a group of settings",
        "--set features.²=1: no item ²; there are spend, quiet_days",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x 1\nb: *x", "aliases (*name) are not allowed"), ("a: 1\na: 2", "'a' is set twice"),
        ("a: {b: 1, b: 2}", "'b' is set twice"), ("? [a]\n: 1", "a key should be a plain word"),
        ("? {a: 1}\n: 1", "a key should be a plain word"), ("a: [", "is not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: \x00", "is not valid YAML"), ("[" * 5_000, "is not valid YAML"),
        ("a: 2026-99-99", "is not valid YAML"), ("a: 1\n---\nb: 2", "is not valid YAML"),
        ("", "should be a mapping of settings, got None"), ("- a", "should be a mapping"),
        ("just text", "should be a mapping of settings, got 'just text'"), ("7", "got 7"),
        ("a: " + "9" * 5_000, "is not valid YAML"), ("\t- a", "is not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_no_job_file(text, problem):
    lines = refused(text)
    assert len(lines) == 1 and lines[0].startswith("job.yaml: ") and problem in lines[0]


@given(st.text(max_size=40))
def test_any_text_is_refused_with_its_file(text):
    assert all(line.startswith("job.yaml: ") for line in refused(text))


def test_files_that_cannot_be_read(tmp_path):
    def problem(path):
        with pytest.raises(ConfigError) as caught:
            load(path)
        return str(caught.value)

    large, binary = tmp_path / "large.yaml", tmp_path / "binary.yaml"
    with large.open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    binary.write_bytes(b"\xff\xfe\x00")
    none = tmp_path / "none.yaml"
    assert problem(large) == f"{large}: is larger than 16777216 bytes"
    assert problem(binary) == f"{binary}: is not UTF-8 text: invalid start byte"
    assert problem(none) == f"{none}: cannot be read: No such file or directory"
    assert problem(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def models(base=Settings):
    found = base.__subclasses__()
    return found + [below for model in found for below in models(model)]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_settings_are_frozen_described_and_their_defaults_valid(model):
    for name, field in model.model_fields.items():
        assert field.description or name in {"op", "kind"}, f"{name} has no description"
        if not field.is_required():
            default = field.get_default(call_default_factory=True)
            plain = default.model_dump() if isinstance(default, BaseModel) else default
            checked = TypeAdapter(get_type_hints(model, include_extras=True)[name]).validate_python(
                plain
            )
            assert checked == default
    assert model.__doc__


def test_grids_of_the_exact_arithmetic_are_documented():
    rows = {row["path"]: row["description"] for row in settings_reference()}
    money = ("channels.<name>.unit_cost", "offers.<name>.value", "offers.<name>.cost")
    limits = [f"constraints.<item>.{bound}" for bound in ("at_most", "at_least", "equals")]
    for path in [*(f"catalogue.{path}" for path in money), *limits]:
        assert f"rounded to {1 / MICRO:.6f}" in rows[path]
    assert f"rounded to 1/{WEIGHT_GRID:.0f}, 2 ** 28 in sum;" in rows["catalogue.weight"]
    assert MOST_WEIGHT == 2**28


def test_the_seed_draws_the_hold_out_and_nothing_else_without_a_model():
    keys = pd.DataFrame({"subscriber": range(200)})
    propensity = keys.assign(**{"data@sms": 0.25, "data@email": 0.5})

    def problem(seed, share):
        job = parse(JOB, "job.yaml", [f"seed={seed}", f"holdout_share={share}"])
        found = candidates(job, keys, propensity, History())
        return found.reason.tolist(), assemble(job, [found]).problem.blocks[0]

    (held, _), (others, _) = problem(1, 0.5), problem(2, 0.5)
    assert held != others
    (_, one), (_, two) = problem(1, 0), problem(2, 0)
    for a, b in zip(vars(one).values(), vars(two).values(), strict=True):
        assert a.tolist() == b.tolist()  # all that the solver sees, beside its own settings


def test_a_job_is_frozen():
    job = parse(JOB, "job.yaml")
    for group in (job, job.inputs, job.catalogue.offers["data"], job.features[0]):
        with pytest.raises(ValidationError, match="frozen"):
            group.name = "other"


PLANNED = [
    ("horizon.days=3", "catalogue.offers.data.decay={by_day: [1.0, 0.5]}",
     "catalogue.offers.data.decay.by_day: should have a share for each day, horizon.days, which is "
     "3, got 2"),
    ("horizon.days=3", "constraints.0.days=[1, 4, 5]",
     "constraints.0.days: got 4, 5; horizon.days is 3"),
    ("horizon.days=3", "constraints=[{name: r, at_most: 1, days: [1], ratio: {of: {measure: cost, "
     "days: [2]}, to: contacts}}]",
     "constraints.0.ratio.of: constraint r has no action in scope: none of its offers and "
     "categories goes by its channels on its days"),
    ("horizon.days=3", "constraints=[{name: r, at_most: 1, each_day: true, ratio: {of: {measure: "
     "cost, days: [2, 3]}, to: {measure: contacts, days: [1]}}}]",
     "constraints.0.each_day: constraint r has no day that both its sums count, got days 2, 3 of "
     "ratio.of and 1 of ratio.to; give both a day in common, or leave each_day out"),
    ("horizon.days=3", "constraints.0.days=[3, 1, 2, 1, 3]",
     "constraints.0.days: should have each day once, got [3, 1, 2, 1, 3]"),
    ("horizon.days=3", "constraints=[{name: r, at_most: 1, each_day: true, ratio: {of: {measure: "
     "cost, days: [2, 2]}, to: contacts}}]",
     "constraints.0.ratio.of.days: should have each day once, got [2, 2]"),
    ("horizon.days=2", "policies=[{name: p, package: [data, data2]}]",
     "policies.0.package: does not go with horizon.days above 1, got 2; plan one day, or leave the "
     "package out"),
    ("horizon.days=1", "constraints.0.days=[2]", "constraints.0.days: got 2; horizon.days is 1"),
]  # fmt: skip


@pytest.mark.parametrize(("days", "change", "expected"), PLANNED)
def test_what_does_not_go_with_the_days_of_a_plan(days, change, expected):
    text = JOB.replace("channels: [sms, email]}}", "channels: [sms, email]}, data2: {category: x, "
                       "value: 1, channels: [sms]}}")  # fmt: skip
    assert expected in [problem.split(": ", 1)[1] for problem in refused(text, days, change)]


def test_a_decay_is_one_of_two():
    for decay in ("{}", "{half_life: 3d, by_day: [1.0]}"):
        (problem,) = refused(JOB, f"catalogue.offers.data.decay={decay}")
        assert "should have either half_life or by_day" in problem
    (problem,) = refused(JOB, "catalogue.offers.data.decay={by_day: [1.5]}")
    assert "catalogue.offers.data.decay.by_day.0" in problem

"""The whole path by its command: the same bits for any way of running, and sums that add up."""

import json
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from engine import tables
from jobs import allocate
from jobs.stages import STORE
from tests.test_cli import walras

ROOT = Path(__file__).parent.parent
SUBSCRIBERS, DAYS = 1_000, 60
ZOOM = ("solver.exact_pairs=0", "solver.sample=150", "solver.gap_tolerance=0.001")


def small_job(folder):
    """Return quickstart for few subscribers: its amounts in proportion, its minimums at half."""
    job = yaml.safe_load((ROOT / "configs/quickstart.yaml").read_text())
    share = SUBSCRIBERS / job["inputs"]["source"]["subscribers"]
    groups = [*job["catalogue"]["channels"].values(), *job["catalogue"]["offers"].values()]
    for group in [*groups, *(c for c in job["constraints"] if "ratio" not in c)]:
        for name in {"capacity", "quota", "at_most"} & set(group):
            group[name] = max(1, round(group[name] * share))
        for name in {"minimum", "at_least"} & set(group):
            group[name] = round(group[name] * share / 2)
    job["inputs"] |= {"folder": str(folder), "source": {"kind": "files"}, "partitions": 3}
    job["scores"] |= {"trees": 15, "depth": 3, "horizon": "3d", "min_accepts": 10}
    return job


@pytest.fixture(scope="module")
def operator(tmp_path_factory):
    """Generate a small operator; return its job file, tables beside it."""
    home = tmp_path_factory.mktemp("operator")
    options = ("--subscribers", SUBSCRIBERS, "--days", DAYS, "--out", home / "tables")
    made = walras("generate", *options, "--quiet")
    assert made.exit_code == 0, made.stderr
    path = home / "job.yaml"
    path.write_text(yaml.safe_dump(small_job(home / "tables"), sort_keys=False))
    return path


def changed(changes):
    return [word for change in changes for word in ("--set", change)]


def bits(stages):
    """Return what a run is worth comparing by the byte: propensities and the allocation."""
    scored = next(stages.glob("score-*"))
    propensity = pd.concat([pd.read_parquet(p) for p in sorted(scored.rglob("part-*.parquet"))])
    propensity = propensity.sort_values("subscriber", ignore_index=True)
    allocate = next(stages.glob("allocate-*"))
    paths = [*allocate.rglob("part-*.parquet"), allocate / "prices.json"]
    files = {path.relative_to(allocate).as_posix(): path.read_bytes() for path in paths}
    assert len(files) >= 3
    return {**files, "propensity": propensity.to_csv().encode()}


def allocated(job, out, *changes):
    """Run a job as far as the allocation; return its bits and its summary."""
    words = changed((*ZOOM, *changes))
    result = walras("allocate", job, "--out", out, "--json", "--quiet", *words)
    assert result.exit_code == 0, result.stderr
    return bits(out / STORE), json.loads(result.stdout)["summary"]


def shuffled(source, folder, seed):
    """Write every table again with its rows in another order, in a few uneven files."""
    random = np.random.default_rng(seed)
    for table in sorted(path for path in source.iterdir() if path.is_dir()):
        rows = pq.read_table(table)
        rows = rows.take(random.permutation(len(rows)))
        (folder / table.name).mkdir(parents=True)
        cuts = [0, *sorted(random.integers(0, len(rows), seed).tolist()), len(rows)]
        for i, (begin, end) in enumerate(pairwise(cuts)):
            pq.write_table(rows[begin:end], folder / table.name / f"some-{seed - i}.parquet")
    return folder


@pytest.fixture(scope="module")
def reference(operator):
    """Allocate by one worker on three partitions; return the bits and the summary."""
    return allocated(operator, operator.parent / "reference", "cluster.workers=1")


def test_the_reference_is_a_real_problem_solved_by_price_zoom(reference):
    _, summary = reference
    assert summary["certified"] and summary["violations"] == 0
    assert 0 <= summary["gap"] <= 1e-3
    assert summary["bound_by"] == "prices (Lagrangian dual)"
    assert 0 < summary["iterations"][-2]["active"] < SUBSCRIBERS  # some were settled
    assert len(summary["constraints"]) >= 25
    assert sum((row["price"] or 0) > 0 for row in summary["constraints"]) >= 5
    values = {row["name"]: row["value"] for row in summary["baselines"]}
    assert values["walras"] > values["greedy"] > 0


@pytest.mark.parametrize(("seed", "partitions"), [(1, 1), (3, 8)])
def test_same_bits_for_any_rows_partitions_and_workers(
    operator, reference, tmp_path, seed, partitions
):
    changes = (f"inputs.partitions={partitions}", "cluster.workers=2")
    folder = shuffled(operator.parent / "tables", tmp_path / "tables", seed)
    changes = (f"inputs.folder={folder}", *changes)
    found, summary = allocated(operator, tmp_path / "out", *changes)
    expected, known = reference
    assert [name for name in expected if expected[name] != found.get(name)] == []
    assert found.keys() == expected.keys()
    volatile = {"iterations"}  # seconds
    assert {k: v for k, v in summary.items() if k not in volatile} == {
        k: v for k, v in known.items() if k not in volatile
    }


@pytest.fixture(scope="module")
def whole(operator, reference):
    """Make the reference's run folder; return it and what the command says of it."""
    out = operator.parent / "reference"
    words = changed((*ZOOM, "cluster.workers=1"))
    result = walras("run", operator, "--out", out, "--json", *words)
    assert result.exit_code == 0, result.stderr
    assert [line for line in result.stderr.splitlines() if "reused" in line]
    return Path(json.loads(result.stdout)["run"]), json.loads(result.stdout)["summary"]


def test_everybody_is_contacted_or_left_out_with_a_reason(whole, operator):
    folder, summary = whole
    people = pd.read_parquet(operator.parent / "tables/subscribers")["subscriber"]
    got, left = (pd.read_parquet(folder / name) for name in ("allocations", "decisions"))
    assert sorted([*got["subscriber"].unique(), *left["subscriber"]]) == sorted(people)
    funnel = {row["step"]: row["subscribers"] for row in summary["funnel"]}
    assert funnel.pop("subscribers") == sum(funnel.values()) == len(people) == SUBSCRIBERS
    assert funnel.pop("contacted") == got["subscriber"].nunique() == summary["contacted"]
    assert funnel == {
        reason: int((left["reason"] == reason).sum())
        for reason in ("hold_out", "not_eligible", "policy", "no_offer_worth_its_price")
    }
    assert min(funnel.values()) > 0  # each reason occurs
    blocked = left["reason"] == "policy"
    assert (left.loc[blocked, "detail"] != "").all()
    assert set(left.loc[left["reason"].isin(["hold_out", "not_eligible"]), "detail"]) == {""}


def test_the_summarys_sums_are_those_of_the_files(whole):
    folder, summary = whole
    got = pd.read_parquet(folder / "allocations")
    assert summary["value"] == pytest.approx(got["value"].sum(), rel=1e-12)
    assert summary["contacts"] == len(got)
    for kind in ("offer", "channel"):
        for row in summary[f"{kind}s"]:
            own = got[got[kind] == row[kind]]
            assert row["contacts"] == len(own)
            sums = own[["propensity", "value", "cost"]].sum()
            found = [row[name] for name in ("acceptances", "value", "cost")]
            np.testing.assert_allclose(found, sums, rtol=1e-12)  # the order of a sum
    for name in ("offers", "channels"):
        assert sum(row["contacts"] for row in summary[name]) == len(got)
    features = pd.concat(
        pd.read_parquet(path) for path in (folder.parent / STORE).glob("profile-*/features/*")
    )
    own = got.groupby("subscriber")["value"].agg(["size", "sum"])
    people = features.set_index("subscriber").join(own)
    assert {"segment", "region", "plan", "stage"} <= set(summary["segments"])
    for column, rows in summary["segments"].items():
        assert sum(row["subscribers"] for row in rows) == SUBSCRIBERS
        for row in rows:
            inside = people[people[column] == row["segment"]]
            assert row["subscribers"] == len(inside)
            assert row["contacted"] == inside["size"].notna().sum()
            assert row["contacts"] == inside["size"].sum()
            assert row["value"] == pytest.approx(inside["sum"].sum(), rel=1e-12)


def test_every_limit_holds_in_the_files(whole, operator):
    """Uses recomputed from the written contacts and the profile, in plain pandas."""
    folder, summary = whole
    job = yaml.safe_load(operator.read_text())
    got = pd.read_parquet(folder / "allocations")
    features = pd.concat(
        pd.read_parquet(path) for path in (folder.parent / STORE).glob("profile-*/features/*")
    )
    got = got.merge(features, on="subscriber", suffixes=("", "_of_subscriber"))
    offers, channels = job["catalogue"]["offers"], job["catalogue"]["channels"]
    unit = got["channel"].map(lambda name: channels[name]["unit_cost"])
    cost = unit + got["propensity"] * got["offer"].map(lambda name: offers[name]["cost"])
    value = got["propensity"] * got["offer"].map(lambda name: offers[name]["value"]) - cost
    of = {"contacts": 1.0, "acceptances": got["propensity"], "cost": cost, "value": value}
    category = got["offer"].map(lambda name: offers[name]["category"])
    masks = {
        **{f"capacity:{name}": got["channel"] == name for name in channels},
        **{f"{kind}:{name}": got["offer"] == name for kind in ("quota", "minimum")
           for name in offers},
        "budget": got["channel"] != "",
        **{f"{name}_spend": got["channel"] == name for name in ("sms", "email", "call")},
        **{f"{name}_spend": category == name for name in ("device", "retention")},
        **{f"{name}_accepts": category == name for name in ("retention", "data")},
        "upsell_contacts": category == "upsell",
        "gold_contacts": got["segment"] == "gold",
        "gold_value": got["segment"] == "gold",
        "youth_contacts": got["segment"] == "youth",
        "new_subscribers": got["stage"] == "new",
        "friction_care": got["care_friction"] >= 0.5,
        "islands_minimum": got["region"] == "islands",
        "capital_sms": (got["region"] == "capital") & (got["channel"] == "sms"),
    }  # fmt: skip
    ratios = {
        "retention_share": (category == "retention").sum() / len(got),
        "mean_discount": cost.sum() / len(got),
    }
    for row in summary["constraints"]:
        ratio = ratios.get(row["name"])
        use = ratio or float((of[row["measure"]] * masks[row["name"]]).sum())
        assert row["use"] == pytest.approx(use, rel=1e-9, abs=1e-9), row["name"]
        # The certificate is exact; sums of floats are within 1e-9 of it.
        assert row["at_most"] is None or use <= row["at_most"] + 1e-9, row["name"]
        assert row["at_least"] is None or use >= row["at_least"] - 1e-9, row["name"]
    np.testing.assert_allclose(got["cost"], cost, rtol=1e-12)
    assert not got.duplicated(["subscriber", "offer"]).any()  # an offer goes by one channel
    assert not got.duplicated(["subscriber", "channel"]).any()  # policy one_per_channel
    assert got.groupby("subscriber").size().max() == 2  # policy two_offers


RULES = [
    {"name": "three", "at_most": 3},
    {"name": "weekly", "at_most": 1, "per": "channel", "only": ["sms", "call"], "within": "7d"},
    {"name": "one_data", "at_most": 1, "per": "offers", "only": ["data_big", "night_data"]},
    {"name": "data_or_social", "at_most": 2, "per": "offers", "only": ["data_big", "social_pass"]},
    {"name": "no_mix", "exclusive": ["win_back", "loyalty_bonus", "plan_upgrade"]},
    {"name": "family_first", "offer": "night_data", "requires": ["family_plan", "data_boost"]},
    {"name": "letter", "package": ["data_boost", "music_pass", "family_plan"]},
    {"name": "pair", "at_least": 2},
]


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_every_kind_of_policy_is_kept_and_certified(operator, tmp_path, exact_pairs):
    changes = (f"solver.exact_pairs={exact_pairs}", f"policies={json.dumps(RULES)}")
    files, summary = allocated(operator, tmp_path / "one", *changes, "inputs.partitions=1")
    assert summary["certified"] and summary["violations"] == 0
    assert 0 <= summary["gap"] <= 1e-3
    if not exact_pairs:
        assert allocated(operator, tmp_path / "two", *changes, "cluster.workers=2")[0] == files
    stage = next((tmp_path / "one" / STORE).glob("allocate-*"))
    got = pd.concat([pd.read_parquet(path) for path in stage.glob("allocations/*.parquet")])
    letters = set(RULES[6]["package"])
    shapes = set()
    for _, rows in got.groupby("subscriber"):
        offers, channels = set(rows["offer"]), rows["channel"].tolist()
        packed = rows["offer"].isin(letters)
        contacts = {(c, o if not p else "letter")
                    for c, o, p in zip(channels, rows["offer"], packed, strict=True)}  # fmt: skip
        assert len(offers) == len(rows) >= 2 and len(contacts) <= 3
        assert all(sum(c == name for c, _ in contacts) <= 1 for name in ("sms", "call"))
        assert not {"data_big", "night_data"} <= offers
        assert len(offers & set(RULES[4]["exclusive"])) <= 1
        assert "night_data" not in offers or offers & set(RULES[5]["requires"])
        shapes |= {("package", len(contacts) < len(rows)), ("night", "night_data" in offers)}
    assert {("package", True), ("package", False)} <= shapes


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_everybody_gets_exactly_one_who_can(operator, tmp_path, exact_pairs):
    policies = [{"name": "one", "exactly": 1}, {"name": "none_by_call", "at_most": 0,
                "per": "channel", "only": ["call"]}]  # fmt: skip
    changes = (f"policies={json.dumps(policies)}", "constraints=[]",
               "catalogue.channels.email.capacity=null", f"solver.exact_pairs={exact_pairs}",
               "inputs.partitions=2")  # fmt: skip
    _, summary = allocated(operator, tmp_path / "out", *changes)
    assert summary["certified"] and 0 <= summary["gap"] <= 1e-3
    stage = next((tmp_path / "out" / STORE).glob("allocate-*"))
    left = pd.concat([pd.read_parquet(path) for path in stage.glob("decisions/*.parquet")])
    certificate = json.loads((stage / "certificate.json").read_text())
    assert set(left["reason"]) <= {"hold_out", "not_eligible", "policy"}
    assert certificate["exempt"] == (left["reason"] != "hold_out").sum() > 0
    assert summary["contacts"] == summary["contacted"] == SUBSCRIBERS - len(left)


def test_a_finished_run_is_recognised_and_a_folder_is_all_it_needs(whole, operator, tmp_path):
    folder, summary = whole
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    words = changed((*ZOOM, "cluster.workers=2"))
    again = walras("run", operator, "--out", folder.parent, *words)
    assert again.exit_code == 0
    assert f"already done: {folder}" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    shown = json.loads(walras("report", moved, "--json").stdout)
    assert shown["summary"] == summary


def test_a_written_file_is_read_once_to_be_certified(operator, reference, monkeypatch):
    read, seen = tables.read, []

    def counted(path, *rest, **options):
        seen.append(path)
        return read(path, *rest, **options)

    monkeypatch.setattr(allocate, "ROWS_A_FILE", 200)
    monkeypatch.setattr(tables, "read", counted)
    out = operator.parent / "reference"
    words = changed((*ZOOM, "solver.gap_tolerance=0.01"))
    result = walras("allocate", operator, "--out", out, "--json", "--quiet", *words)
    assert result.exit_code == 0, result.stderr
    folder = Path(json.loads(result.stdout)["folder"])
    written = sorted(path.name for path in (folder / "allocations").iterdir())
    times = Counter(path.name for path in seen if path.parent.name == "allocations")
    assert len(written) > 1 and times == dict.fromkeys(written, 1)
    assert sorted(path.name for path in folder.iterdir()) == [
        "allocations", "blocked.parquet", "certificate.json", "decisions", "prices.json",
        "stage.json",
    ]  # fmt: skip


def test_a_minimum_out_of_reach_is_infeasible_by_the_prices_too(operator, reference):
    out = operator.parent / "reference"
    words = changed((*ZOOM, f"constraints.islands_minimum.at_least={SUBSCRIBERS}"))
    result = walras("allocate", operator, "--out", out, "--json", "--quiet", *words)
    assert result.exit_code == 3, result.stderr
    summary = json.loads(result.stdout)["summary"]
    assert summary["status"] == "INFEASIBLE"
    assert "islands_minimum" in {row["constraint"] for row in summary["conflict"]}

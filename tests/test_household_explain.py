"""Explanations of members of households, beside what the others get: against every bundle."""

import numpy as np
import pandas as pd
import pytest

from engine.assemble import assemble
from engine.candidates import candidates
from engine.decisions import BESIDE, LEFT_OUT, NO_OFFER
from engine.limits import MICRO
from engine.problem import VALUE_UNIT
from engine.reasons import beside, closed
from engine.session import Session
from engine.standing import standings
from jobs import explain
from jobs.run_folder import opened
from jobs.what_if import opened as asked
from tests import brute_policies as brute
from tests import problems
from tests.golden import __main__ as golden
from tests.policy_cases import parsed, profiled, scored, told
from tests.test_household_policies import fits
from tests.test_household_prices import drawn


@pytest.mark.parametrize("seed", range(60))
def test_a_member_is_judged_beside_what_the_others_get(seed):
    mapping, people = drawn(np.random.default_rng(seed))
    mapping["constraints"] = [{"name": "few", "measure": "contacts", "at_most": 3}]
    job, features, history = parsed(mapping), profiled(people), told(mapping, people)
    placed = assemble(job, [candidates(job, features, scored(job, features), history)])
    problem, ((order,), (block,)) = placed.problem, (placed.order, placed.problem.blocks)
    session, acts = Session(problem), brute.actions(mapping)
    found = session.solve()
    chosen = [tuple(sorted(a for a in own if a >= 0)) for own in found.chosen[0].T.tolist()]
    words = problems.in_words(problem)
    for row, s in enumerate(order.tolist()):
        mates = [t for t, i in enumerate(order.tolist())
                 if people[s].others and people[i].home == people[s].home and t != row]  # fmt: skip
        if problem.rules.households is None:
            mates = []
        assert session.mates(0, row) == {t: chosen[t] for t in mates}
        own = session.explain(row=row)
        assert own.chosen == chosen[row] and sorted(own.others) == sorted(chosen[t] for t in mates)
        others = [chosen[t] for t in mates]
        may = [
            bundle for bundle in problems.bundles_of(problem, words[row])
            if not mates or fits(problem, block, [row, *mates], [bundle, *others])
        ]  # fmt: skip
        surplus = {}
        for bundle in may:
            value, use = problems.worth(problem, words[row], bundle)
            paid = sum(p * u / 2**24 / MICRO for p, u in zip(found.prices, use, strict=True))
            surplus[bundle] = value / VALUE_UNIT - paid
        assert own.best in surplus
        assert own.best_surplus == pytest.approx(max(surplus.values()), rel=1e-9, abs=1e-9)
        assert own.chosen in surplus
        assert ("the others of its household" in own.text()) == bool(mates)
        check_reasons(mapping, people, s, own.best, [(order[t], chosen[t]) for t in mates])
        is_open = {a.action for a in own.actions if a.is_open}
        assert is_open == {a for bundle in may for a in bundle}, acts


def check_reasons(mapping, people, s, bundle, others):
    """Compare which policies stand in the way beside a bundle, and those of the other members."""
    job, acts = parsed(mapping), brute.actions(mapping)
    household = [s, *(int(i) for i, _ in others)]
    taken = [people[i] for i in household]
    features, history = profiled(taken, household), told(mapping, taken, household)
    shut = closed(job, features, history)[0]
    found = beside(job, (features, history), bundle, [own for _, own in others])
    for a, action in enumerate(acts):
        if shut[a] or a in bundle or action.offer in {acts[b].offer for b in bundle}:
            continue
        mine = tuple(acts[b] for b in sorted([*bundle, a]))
        theirs = [tuple(acts[b] for b in own) for _, own in others]
        against = [
            p["name"] for p in mapping["policies"]
            if not brute.allows(mapping, p, people[s], mine)
            or (brute.is_joint(p) and others
                and not brute.allows_together(mapping, p, taken, [mine, *theirs]))
        ]  # fmt: skip
        expected = f"beside that bundle not by policy {', '.join(against)}" if against else ""
        assert found[a] == expected


def test_the_history_of_the_others_is_told():
    """Whose a contact is, and until when it blocks; policies over subscribers see their own."""
    mapping, people = drawn(np.random.default_rng(0))
    now = brute.time_of(mapping, people[0])
    mapping["policies"] = [
        {"name": "home", "at_most": 2, "within": "7d", "over": "household"},
        {"name": "own", "at_most": 1, "within": "7d"},
        {"name": "apart", "exclusive": ["data", "voice"], "within": "2d", "over": "household"},
    ]
    event = brute.Event(now - 86_400, "data", "sms")
    pair = [
        people[0]._replace(home="a", contacts=[]),
        people[0]._replace(home="a", contacts=[event, event._replace(time=now - 3 * 86_400)]),
    ]
    job, history = parsed(mapping), told(mapping, pair, ["me", "you"])
    found = standings(job, profiled(pair, ["me", "you"]), history)
    home, own, *apart = found
    assert [(c.of, c.time) for c in home.contacts] == [(1, now - 3 * 86_400), (1, now - 86_400)]
    assert (home.used, home.allowed, home.until) == (2, 2, now + 4 * 86_400)
    assert (own.used, own.contacts, own.blocked) == (0, (), ())
    assert [(one.group, one.until, bool(one.blocked)) for one in apart] == [
        ("data", None, False), ("voice", now + 86_400, True),
    ]  # fmt: skip


def test_who_gets_nothing_beside_others_is_told(run):
    folder, _, table = run
    got = set(pd.read_parquet(folder / "allocations")["subscriber"])
    homes = table.set_index("subscriber")["home"]
    reached = set(homes[homes.index.isin(got)].dropna())
    left = pd.read_parquet(folder / "decisions").set_index("subscriber")
    left = left[(left["reason"] == NO_OFFER) & (left["detail"] != LEFT_OUT)]
    expected = homes[left.index].isin(reached)
    assert ((left["detail"] == BESIDE) == expected).all() and expected.sum() > 0


HOME = [
    "{name: two_offers, at_most: 2}",
    "{name: home_sms, at_most: 1, per: channel, only: [sms], within: 30d, over: household}",
    "{name: home_once, at_most: 1, per: offer, over: household}",
    "{name: home_data, exclusive: [data_boost, device_5g], over: household}",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The golden job in households of three, and one alone, and the changes to it."""
    inputs = tmp_path_factory.mktemp("inputs")
    for path in (golden.HERE / "inputs").iterdir():
        table = pd.read_csv(path, dtype=str)
        if path.stem == "subscribers":
            table["home"] = [f"h{i // 3}" if i else None for i in range(len(table))]
        table.to_csv(inputs / path.name, index=False)
    changes = [f"inputs.folder={inputs}", "inputs.subscribers.household=home",
               f"policies=[{', '.join(HOME)}]"]  # fmt: skip
    out = tmp_path_factory.mktemp("runs")
    return golden.run(out, *changes), [*changes, f"output={out}"], pd.read_csv(
        inputs / "subscribers.csv"
    )  # fmt: skip


def test_members_are_explained_by_the_figures_of_their_run(run):
    folder, changes, table = run
    got, done = pd.read_parquet(folder / "allocations"), opened(folder)
    job, homes = asked(golden.HERE / "job.yaml", changes), table.set_index("subscriber")["home"]
    job.session.solve()
    names = (got["offer"] + "@" + got["channel"]).groupby(got["subscriber"]).agg(set).to_dict()
    seen = set()
    for key in homes.index[:16].tolist():
        mates = [] if pd.isna(homes[key]) else homes.index[homes == homes[key]].drop(key).tolist()
        own, what_if = explain.explain(done, str(key)), job.explain(key)
        assert set(own["gets"]) == names.get(key, set())
        others = {one["subscriber"]: set(one["gets"]) for one in own["household"]}
        assert others == {mate: names.get(mate, set()) for mate in mates}
        text = "\n".join(str(line) for line in explain.shown(own) if not hasattr(line, "columns"))
        assert all(f"{mate} gets" in text for mate in mates)
        assert len(what_if.others) == len(mates)
        for policy in own["policies"]:
            whose = {contact["subscriber"] for contact in policy["contacts"]}
            assert whose <= ({key, *mates} if policy["policy"].startswith("home") else {key})
            seen |= whose - {key}
        taken = {name.split("@")[0] for gets in others.values() for name in gets}
        for action, same in zip(own["actions"], what_if.actions, strict=True):
            assert action["is_open"] == same.is_open
            if action["action"].split("@")[0] in taken and not action["is_chosen"]:
                assert not action["is_open"] and action["reason"]
        assert not {name.split("@")[0] for name in own["best"]} & taken
    assert seen

"""Random allocation problems, their plain definition and their optimum by enumeration."""

from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import numpy as np
from hypothesis import strategies as st
from ortools.linear_solver import pywraplp

from engine.block import Block
from engine.problem import USE_UNIT, VALUE_UNIT, Problem, Row
from engine.rules import Rules
from kernels.choose import MUST

MICRO = 10**6
GRID, WEIGHT_GRID = 2**24, 2**10
# So many actions at most, that every combination of bundles can be listed.
MOST_ACTIONS = {0: 4, 1: 7, 2: 6, 3: 5, 5: 4, 6: 3}
# Few distinct values, so that ties happen; odd ones, so that nothing divides anything.
PROPENSITIES = {
    "ties": [np.nan, 0.0, 0.25, 0.5, 1.0],
    "one": [0.5],
    "none": [np.nan],
    "odd": [np.nan, 1 / GRID, 3_333_333 / GRID, 9_999_991 / GRID, 16_777_213 / GRID],
}
MONEY = {
    "ties": [-MICRO, 0, MICRO // 2, MICRO],
    "one": [MICRO],
    "losses": [-MICRO, -3 * MICRO],
    "odd": [-7, 1_000_003, 5_999_993, 999_999_937, 10**15 + 37],
}
WEIGHTS = {
    "one": [1.0],
    "ties": [0.0, 0.5, 1.0, 2.0],
    "odd": [1 / 1024, 1023 / 1024, 999 + 1 / 1024],
}


@st.composite
def small_problems(draw, *, with_minimums=True, palettes=None, related=None):
    """A problem of up to six subscribers in up to three blocks.

    ``related``: whether there are rules beside caps on channels and categories; None: either.
    """
    subscribers = draw(st.sampled_from([0, 1, 2, 3, 5, 6, 2, 3, 5, 6]))
    palettes = palettes or [
        draw(st.sampled_from(p))
        for p in (["ties", "odd", "ties", "one", "none", "odd"], list(MONEY), list(WEIGHTS))
    ]
    limits = draw(st.sampled_from([0, 1, 2, 3, 4]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = [int(rng.integers(1, n + 1)) for n in (3, 3, 2, 3, 3)]
    kinds = rng.choice(["contacts", "acceptances", "cost", "value"], limits).tolist()
    related = draw(st.booleans()) if related is None else related
    problem = _unlimited(rng, subscribers, shape, palettes, related)
    limited = _with_limits(rng, problem, kinds, palettes[1], with_minimums=with_minimums)
    return rearranged(limited, rng, draw(st.integers(1, 3)))


def _rules(rng, offer, channel, category, related):
    """Draw rules: caps of channels and categories, and the other relations if asked for."""
    offers = int(offer.max()) + 1
    members = [channel == c for c in range(channel.max() + 1)]
    members += [category == h for h in range(category.max() + 1)]
    contact = np.arange(len(offer), dtype=np.int32)
    per_contact = np.zeros(len(members), bool)
    if not related:
        return Rules(np.array(members), per_contact, contact)
    extra = [np.isin(offer, rng.integers(0, offers, 2)), np.ones(len(offer), bool)]
    extra = extra[: rng.integers(0, 3)]
    exclusive = [tuple(rng.integers(0, offers, 2).tolist()) for _ in range(rng.integers(0, 2))]
    requires = [tuple(rng.integers(0, offers, 2).tolist()) for _ in range(rng.integers(0, 3))]
    if rng.random() < 0.4:
        package = rng.permutation(offers)[:2]
        for c in range(channel.max() + 1):
            together = np.flatnonzero(np.isin(offer, package) & (channel == c))
            contact[together] = together[:1]
    members, by_contact = np.array(members + extra), rng.random() < 0.5
    per_contact = (members == members[:, contact]).all(axis=1) & by_contact  # contacts as a whole
    return Rules(
        members, per_contact, contact,
        [(a, b) for a, b in exclusive if a != b],
        [(a, (b,)) for a, b in requires if a != b and {a, b} <= set(offer.tolist())],
    )  # fmt: skip


def _unlimited(rng, subscribers, shape, palettes, related):
    offers, channels, categories, groups, width = shape
    p, money, weight = palettes
    pairs = [(o, c) for o in range(offers) for c in range(channels)]
    most = min(len(pairs), MOST_ACTIONS[subscribers])
    count = rng.integers((most + 1) // 2, most + 1)
    pairs = sorted(pairs[i] for i in rng.permutation(len(pairs))[:count])
    offer, channel = (np.array(x, np.int32) for x in zip(*pairs, strict=True))
    category = (offer % categories).astype(np.int32)
    channels, categories = int(channel.max()) + 1, int(category.max()) + 1
    propensity = rng.choice(PROPENSITIES[p], (count, subscribers)).astype(np.float32)
    caps = [rng.choice([0, 1, 1, 1, 2, 2], (channels, subscribers))]
    caps += [rng.choice([0, 1, 2, 3, 3, 3], (categories, subscribers))]
    rules, fewest = _rules(rng, offer, channel, category, related), [0]
    if related:
        fewest = [0, 0, 2, MUST, MUST + 1, MUST + 2]
        caps += [
            rng.choice([1, 1, 2, 3], (len(rules.members) - channels - categories, subscribers))
        ]
    cap = np.concatenate(caps).astype(np.uint8)
    for d, members in enumerate(rules.members):
        propensity[np.ix_(members, cap[d] == 0)] = np.nan
    block = Block(
        rng.permutation(10 * subscribers)[:subscribers].astype(np.int64) * 2**56,
        propensity,
        rng.choice(WEIGHTS[weight], subscribers).astype(np.float32),
        rng.integers(0, groups, subscribers).astype(np.int32),
        rng.choice([0, 1, width, width], subscribers).astype(np.uint8),
        rng.choice(fewest, subscribers).astype(np.uint8),
        cap,
    )
    fixed, accept = rng.choice(MONEY[money], (2, count))
    none = np.zeros((0, count), np.int64)
    return Problem(
        [block], offer, channel, rules, fixed.astype(np.int64), accept.astype(np.int64),
        [], none, none, np.zeros((0, groups), bool), np.zeros(0, np.int64),
    )  # fmt: skip


def _with_limits(rng, problem, kinds, money, *, with_minimums):
    actions, rows = len(problem.offer), []
    shape = (len(kinds), actions)
    fixed, accept = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    limit = np.zeros(len(kinds), np.int64)
    for k, kind in enumerate(kinds):
        fixed[k], accept[k] = {
            "contacts": (MICRO, 0),
            "acceptances": (0, MICRO),
            "cost": (abs(rng.choice(MONEY[money], actions)), abs(rng.choice(MONEY[money]))),
            "value": (problem.value_fixed, problem.value_accept),
        }[kind]
        scope = rng.random(actions) < 0.7
        fixed[k, ~scope] = accept[k, ~scope] = 0
        unit = MICRO if kind in {"contacts", "acceptances"} else int(rng.choice(MONEY[money]))
        limit[k] = int(rng.integers(0, 4)) * abs(unit)
        if kind == "acceptances":
            limit[k] //= 2
        is_minimum = with_minimums and bool(rng.random() < 0.3)
        rows.append(Row(f"{kind}_{k}", kind, is_minimum))
        if is_minimum:
            fixed[k], accept[k], limit[k] = -fixed[k], -accept[k], -limit[k]
    in_scope = rng.random((len(kinds), problem.groups)) < 0.7
    return replace(
        problem, rows=rows, use_fixed=fixed, use_accept=accept, in_scope=in_scope, limit=limit
    )


def rearranged(problem, rng, blocks):
    """Return the problem with its rows shuffled and dealt into so many blocks, some empty."""
    whole = Block(
        **{
            name: np.concatenate([getattr(b, name) for b in problem.blocks], axis=-1)
            for name in problem.blocks[0].__dict__
        }
    )
    place = rng.integers(0, blocks, len(whole))
    order = rng.permutation(len(whole))
    return problem.with_blocks([whole.take(order[place[order] == b]) for b in range(blocks)])


def realistic(subscribers, *, seed=0, offers=7, channels=3, width=2, minimums=True, blocks=1):
    """Return a problem with a budget, capacities, quotas, segment caps and minimums that bind."""
    rng = np.random.default_rng(seed)
    pairs = [(o, c) for o in range(offers) for c in range(channels) if (o + c) % 4]
    offer, channel = (np.array(x, np.int32) for x in zip(*pairs, strict=True))
    segments, split = 4, 4
    key = rng.integers(0, 2**63 - 1, subscribers)
    group = rng.integers(0, segments, subscribers) * split + key % split
    taste = rng.normal(-3, 1, subscribers) + rng.normal(0, 0.8, (offers, subscribers))[offer]
    taste += rng.normal(0, 0.5, (channels, subscribers))[channel]
    p = (np.rint(GRID / (1 + np.exp(-taste))) / GRID).astype(np.float32)
    may = (rng.random((offers, subscribers)) < 0.5)[offer]
    p[~(may & (rng.random((channels, subscribers)) < 0.7)[channel])] = np.nan
    block = Block(
        key,
        p,
        rng.choice(np.float32([0.5, 1, 2]), subscribers),
        group.astype(np.int32),
        np.full(subscribers, width, np.uint8),
        np.zeros(subscribers, np.uint8),
        np.repeat(np.uint8([1, width]), [channels, 3])[:, None].repeat(subscribers, axis=1),
    )
    members = [channel == c for c in range(channels)] + [offer % 3 == h for h in range(3)]
    rules = Rules(
        np.array(members), np.zeros(len(members), bool), np.arange(len(offer), dtype=np.int32)
    )
    value, cost = rng.uniform(1, 12, offers)[offer], rng.uniform(0.1, 2, offers)[offer]
    unit_cost = np.array([0.03, 0.01, 0.8, 0.005, 0.02])[channel]
    everyone = np.ones(segments * split, bool)
    one, zero = np.ones(len(offer)), np.zeros(len(offer))
    limits = [
        ("budget", "cost", unit_cost, cost, everyone, 0.03 * subscribers),
        *((f"capacity_{c}", "contacts", (channel == c) * one, zero, everyone,
           subscribers * rng.uniform(0.1, 0.3)) for c in range(channels)),
        *((f"quota_{o}", "contacts", (offer == o) * one, zero, everyone,
           subscribers * rng.uniform(0.04, 0.12)) for o in range(offers)),
        *((f"segment_{g}", "contacts", one, zero, np.arange(segments * split) // split == g,
           subscribers / segments * rng.uniform(0.3, 0.6)) for g in range(segments)),
        *((f"minimum_{o}", "contacts", (offer == o) * -one, zero, everyone,
           -np.floor(0.03 * subscribers)) for o in range(0, offers * minimums, 3)),
    ]  # fmt: skip
    names, measures, fixed, accept, in_scope, limit = zip(*limits, strict=True)
    problem = Problem(
        [block], offer, channel, rules,
        micro(-unit_cost), micro(value - cost),
        [Row(n, m, n.startswith("minimum")) for n, m in zip(names, measures, strict=True)],
        micro(fixed), micro(accept), np.array(in_scope), micro(np.floor(limit)),
    )  # fmt: skip
    return problem if blocks == 1 else rearranged(problem, rng, blocks)


def micro(amounts):
    return np.rint(np.array(amounts) * MICRO).astype(np.int64)


def related(problem, seed=0):
    """Return the problem with every kind of relation, and minimums for some of the subscribers."""
    rng, offer, rules = np.random.default_rng([seed, 1]), problem.offer, problem.rules
    contact = rules.contact.copy()
    for c in np.unique(problem.channel):
        together = np.flatnonzero(np.isin(offer, [1, 4]) & (problem.channel == c))
        contact[together] = together[:1]
    members = np.array([*rules.members, np.isin(offer, [0, 1, 5]), np.isin(offer, [5, 6])])
    by_channel = np.arange(len(members)) <= problem.channel.max()
    found = Rules(members, by_channel, contact, [(0, 3), (2, 6)], [(3, (1, 4)), (5, (2,))])
    blocks = []
    for block in problem.blocks:
        groups = rng.integers(1, 3, (2, len(block))).astype(np.uint8)
        fewest = rng.choice(np.uint8([0, 0, 0, 2, MUST]), len(block))
        cap = np.concatenate([block.cap, groups])
        blocks.append(replace(block, fewest=fewest, cap=cap))
    return replace(problem, rules=found, blocks=blocks)


def in_words(problem):
    """Return every subscriber as a plain dictionary: key, group, weight, caps, open actions."""
    return [
        {
            "key": int(block.key[s]),
            "group": int(block.group[s]),
            "weight": Fraction(float(block.weight[s])),
            "most": int(block.most[s]),
            "fewest": int(block.fewest[s]),
            "cap": block.cap[:, s].tolist(),
            "p": {a: Fraction(p) for a, p in enumerate(block.propensity[:, s].tolist()) if p == p},
        }
        for block in problem.blocks
        for s in range(len(block))
    ]


def bundles_of(problem, subscriber):
    """Return the bundles of X_s, by the words of engine.rules."""
    actions = sorted(subscriber["p"])
    found = [
        bundle
        for size in range(1, subscriber["most"] + 1)
        for bundle in combinations(actions, size)
        if _keeps(problem, subscriber, bundle)
    ]
    return found if found and subscriber["fewest"] >= MUST else [(), *found]


def _keeps(problem, subscriber, bundle):
    rules, offers = problem.rules, [int(problem.offer[a]) for a in bundle]
    if len(bundle) < subscriber["fewest"] % MUST or len(set(offers)) < len(offers):
        return False
    if any(one in offers and other in offers for one, other in rules.exclusive):
        return False
    if any(one in offers and not set(others) & set(offers) for one, others in rules.requires):
        return False
    for cap, members, per_contact in zip(
        subscriber["cap"], rules.members, rules.per_contact, strict=True
    ):
        counted = [a for a in bundle if members[a]]
        if len({int(rules.contact[a]) for a in counted} if per_contact else counted) > cap:
            return False
    return True


def is_allowed(problem, subscriber, bundle):
    """Whether a bundle is in X_s, in any order of its actions."""
    return tuple(sorted(bundle)) in bundles_of(problem, subscriber)


def worth(problem, subscriber, bundle):
    """Return a bundle's value and use of each limit, whole units, by the formulas."""
    value, uses = Fraction(0), [Fraction(0)] * len(problem.rows)
    for a in bundle:
        p = subscriber["p"][a]
        value += subscriber["weight"] * (
            int(problem.value_fixed[a]) + int(problem.value_accept[a]) * p
        )
        for t, k in enumerate(problem.terms.tolist()):
            if problem.in_scope[t, subscriber["group"]]:
                uses[k] += int(problem.use_fixed[t, a]) + int(problem.use_accept[t, a]) * p
    whole = [value * VALUE_UNIT / MICRO, *(use * USE_UNIT / MICRO for use in uses)]
    assert all(number.denominator == 1 for number in whole)
    return int(whole[0]), tuple(int(use) for use in whole[1:])


def limits_of(problem):
    return [int(limit) * USE_UNIT // MICRO for limit in problem.limit]


def outcomes(problem):
    """Return every use of the limits that whole bundles can have -> the most value with it."""
    found = {(0,) * len(problem.rows): 0}
    for subscriber in in_words(problem):
        bundles = [worth(problem, subscriber, bundle) for bundle in bundles_of(problem, subscriber)]
        grown = {}
        for use, value in found.items():
            for more, use_more in bundles:
                total = tuple(u + m for u, m in zip(use, use_more, strict=True))
                if grown.get(total, value + more) <= value + more:
                    grown[total] = value + more
        found = grown
    return found


def optimum(problem, found=None, *, without=()):
    """Return the most value within the limits (some left out), whole units; None: infeasible."""
    limits = limits_of(problem)
    rows = [k for k in range(len(limits)) if k not in without]
    found = outcomes(problem) if found is None else found
    return max(
        (v for use, v in found.items() if all(use[k] <= limits[k] for k in rows)), default=None
    )


def bundles_by_key(problem, chosen):
    """Return key -> bundle, in the order chosen."""
    return {
        int(key): tuple(int(a) for a in column if a >= 0)
        for block, bundles in zip(problem.blocks, chosen, strict=True)
        for key, column in zip(block.key, bundles.T, strict=True)
    }


def value_of(problem, chosen):
    """Return an allocation's value in whole units, after checking every rule and every limit."""
    found = bundles_by_key(problem, chosen)
    assert len(found) == problem.subscribers
    value, use = 0, [0] * len(problem.rows)
    for subscriber in in_words(problem):
        bundle = found[subscriber["key"]]
        assert is_allowed(problem, subscriber, bundle), (subscriber, bundle)
        more, uses = worth(problem, subscriber, bundle)
        value += more
        use = [u + m for u, m in zip(use, uses, strict=True)]
    over = [r.name for r, u, b in zip(problem.rows, use, limits_of(problem), strict=True) if u > b]
    assert not over
    return value


def best_by_ortools(problem, backend):
    """Return the most value, money, of the plain model over the bundles; None: infeasible.

    Args:
        problem: the problem.
        backend: SCIP for whole bundles, GLOP for shares of them: the hulls of the X_s.
    """
    solver = pywraplp.Solver.CreateSolver(backend)
    uses = [solver.Constraint(-solver.infinity(), limit / MICRO) for limit in problem.limit]
    solver.Objective().SetMaximization()
    for subscriber in in_words(problem):
        one = solver.Constraint(1, 1)
        for bundle in bundles_of(problem, subscriber):
            taken = solver.IntVar(0, 1, "")
            one.SetCoefficient(taken, 1)
            value, use = worth(problem, subscriber, bundle)
            solver.Objective().SetCoefficient(taken, value / VALUE_UNIT)
            for row, amount in zip(uses, use, strict=True):
                row.SetCoefficient(taken, amount / USE_UNIT)
    status = solver.Solve()
    assert status in (pywraplp.Solver.OPTIMAL, pywraplp.Solver.INFEASIBLE)
    return solver.Objective().Value() if status == pywraplp.Solver.OPTIMAL else None

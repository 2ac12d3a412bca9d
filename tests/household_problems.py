"""Small households with common caps, and all that their members may choose together."""

from itertools import product

import numpy as np

from engine.household_rules import HouseholdRules
from engine.rules import Rules
from tests.test_choose import bundles, surpluses, total_of

MONEY = np.array([-1.0, -0.5, 0.5, 1.0, 1.0, 2.0])


def household_problem(seed, sizes, shape, *, width, related=True, money=MONEY):
    """Draw households of some sizes; 0: a row without one.

    Args:
        seed: of the draw.
        sizes: members of each household, in the order of rows.
        shape: offers and channels, each offer in each channel.
        width: Q.
        related: with packages, exclusions and caps of any groups.
        money: what fixed values and prices are drawn from.

    Returns:
        the arguments of ``choose``, ``household``, ``room``, and the rules.
    """
    rng = np.random.default_rng(seed)
    offers, channels = shape
    offer, channel = (x.reshape(-1).astype(np.int32) for x in np.indices(shape))
    number = np.array([h for h, n in enumerate(sizes) for _ in range(max(n, 1))], np.int64)
    actions, rows = len(offer), len(number)
    household = np.where(np.array(sizes, np.int64)[number] > 0, number, -1)
    contact = np.arange(actions, dtype=np.int32)
    if related and rng.random() < 0.5:  # offers 0 and 1 go out together
        together = np.isin(offer, [0, 1])
        for c in range(channels):
            contact[together & (channel == c)] = np.flatnonzero(together & (channel == c))[0]
    own, own_whole = _caps(rng, offer, channel, contact, related, [])
    ties, whole = _caps(rng, offer, channel, contact, related, [offer == o for o in range(offers)])
    pair = tuple(rng.choice(offers, 2, replace=False).tolist()) if offers > 1 else ()
    households = HouseholdRules(ties, whole, [pair] if pair and related else [])
    one = tuple(rng.choice(offers, 2, replace=False).tolist()) if offers > 1 else ()
    rules = Rules(
        own, own_whole, contact, (one,) if one and related and rng.random() < 0.5 else (),
        households=households,
    )  # fmt: skip
    groups = int(rng.integers(1, 3))
    propensity = rng.choice(np.array([np.nan, 0.0, 0.25, 0.5, 1.0], np.float32), (actions, rows))
    cap = rng.integers(1, 4, (len(own), rows)).astype(np.uint8)
    room = np.ascontiguousarray(
        rng.choice(
            [0, 1, 1, 1, 2, 3], (len(ties), len(sizes)), p=[0.04, 0.24, 0.24, 0.24, 0.12, 0.12]
        )[:, number],
        np.uint8,
    )
    return (
        propensity, rng.choice(np.array([0.5, 1.0, 2.0], np.float32), rows),
        rng.integers(0, groups, rows).astype(np.int32),
        rng.choice([0, width, width, max(1, width - 1)], rows).astype(np.uint8),
        np.zeros(rows, np.uint8), cap, *rules.arrays(offer),
        *rng.choice(money, (2, actions)),
        *(rng.choice(money, (2, groups, actions)) * (0.5 if related else 0.25)),
    ), household, room, rules  # fmt: skip


def _caps(rng, offer, channel, contact, related, more):
    """Draw the groups that caps count, and which of them count contacts."""
    groups = [channel == c for c in range(channel.max() + 1)] + more
    if related:
        groups += [np.isin(offer, rng.choice(offer, 2)), np.ones(len(offer), bool)]
    groups = [g for g in groups if rng.random() < 0.7] or [np.ones(len(offer), bool)]
    members = np.array(groups)
    may = np.array([(of == of[contact]).all() for of in groups])
    return members, may & (rng.random(len(groups)) < 0.7)


def arguments(case, width):
    """Return the inputs of ``choose_households`` and empty outputs."""
    problem, household, room, rules = case
    rows, groups, actions = problem[0].shape[1], *problem[-1].shape
    fixed, (offer, *relations, _requires) = problem[-4:], problem[6:14]
    return (
        *problem[:4], problem[5], household, room, offer, *relations,
        *rules.households.arrays(offer), *fixed,
    ), (
        np.full((width, rows), -7, np.int16), np.full(rows, -7, np.float32),
        np.zeros((groups, actions, 4), np.int64),
    )  # fmt: skip


def fit_together(choice, rules, offer, room):
    """Say whether members' bundles keep the caps and exclusions of their household."""
    for e, members in enumerate(rules.households.members):
        used = 0
        for bundle in choice:
            counted = [int(rules.contact[a]) for a in bundle if members[a]]
            used += len(set(counted) if rules.households.per_contact[e] else counted)
        if used > room[e]:
            return False
    offers = {int(offer[a]) for bundle in choice for a in bundle}
    return not any(len(offers & set(others)) > 1 for others in rules.households.exclusive)


def households_of(household):
    """Return the rows of each household."""
    return [np.flatnonzero(household == h) for h in np.unique(household[household >= 0])]


def definition(case, rows):
    """Return the joint choices of a household and their totals, best first, and if it was bound.

    Bound: the members' own best bundles do not all go together. Then the choices are joint;
    otherwise one of each member after another is returned.
    """
    problem, _, room, rules = case
    surplus = [surpluses(problem, s) for s in rows]
    own = [bundles(problem, s, rules, surplus[m]) for m, s in enumerate(rows)]
    totals = [[total_of(b, surplus[m]) for b in own[m]] for m in range(len(rows))]
    offer, left = problem[6], room[:, rows[0]]
    found = {}
    for taken in product(*(range(len(b)) for b in own)):
        choice = tuple(frozenset(own[m][i]) for m, i in enumerate(taken))
        if fit_together(choice, rules, offer, left):
            found[choice] = sum(totals[m][i] for m, i in enumerate(taken))
    return found, [
        dict(zip(map(frozenset, own[m]), totals[m], strict=True)) for m in range(len(rows))
    ]

"""Small households with common caps, and all that their members may choose together."""

from itertools import product

import numpy as np
from ortools.sat.python import cp_model

from engine.household_rules import HouseholdRules
from engine.rules import Rules
from tests.test_choose import bundles, surpluses, total_of

MOST, CAP, OFFER = 3, 5, 6  # places among the arguments of choose
GRID = 1 << 16
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
    by_channel, by_offer = (
        list(channel == np.arange(channels)[:, None]),
        list(offer == np.arange(offers)[:, None]),
    )
    own, own_whole = _caps(rng, by_channel, offer, contact, related)
    ties, whole = _caps(rng, by_channel + by_offer, offer, contact, related)
    sets = [rng.permutation(offers)[: rng.integers(2, 4)].tolist() for _ in range(rng.integers(3))]
    exclusive = [tuple(own) for own in sets if len(own) > 1 and related]
    households = HouseholdRules(ties, whole, exclusive)
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


def _caps(rng, groups, offer, contact, related):
    """Draw the groups that caps count, and which of them count contacts."""
    if related:
        groups = [*groups, np.isin(offer, rng.choice(offer, 2)), np.ones(len(offer), bool)]
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


def fit_together(choice, case, rows):
    """Say whether the bundles of a household's members keep its caps and exclusions."""
    _, _, rooms, rules = case
    room = rooms[:, rows[0]]
    for e, members in enumerate(rules.households.members):
        used = 0
        for bundle in choice:
            counted = [int(rules.contact[a]) for a in bundle if members[a]]
            used += len(set(counted) if rules.households.per_contact[e] else counted)
        if used > room[e]:
            return False
    return keeps_exclusions(choice, case)


def keeps_exclusions(choice, case):
    """Say whether bundles have no two offers that exclude one another in a household."""
    problem, _, _, rules = case
    offers = {int(problem[OFFER][a]) for bundle in choice for a in bundle}
    return not any(len(offers & set(others)) > 1 for others in rules.households.exclusive)


def households_of(household):
    """Return the rows of each household."""
    return [np.flatnonzero(household == h) for h in np.unique(household[household >= 0])]


def choices_of(case, rows):
    """Return all joint choices of a household, and each member's bundles, with their surpluses."""
    problem, _, _, rules = case
    own = []
    for s in rows:
        surplus = surpluses(problem, s)
        listed = bundles(problem, s, rules, surplus)
        own.append({
            frozenset(b): total_of(b, surplus) for b in listed if keeps_exclusions([b], case)
        })  # fmt: skip
    joint = {}
    for choice in product(*own):
        if fit_together(choice, case, rows):
            joint[choice] = sum(mine[b] for mine, b in zip(own, choice, strict=True))
    return joint, own


def solved(case, rows, forbidden=None):
    """Return the greatest joint surplus and its choice, by CP-SAT; one choice may be forbidden.

    Surpluses are whole multiples of 2**-16.
    """
    problem, _, room, rules = case
    model, taken, worth = cp_model.CpModel(), {}, []
    offer, households = problem[OFFER], rules.households
    contacts = {}
    for m, s in enumerate(rows):
        surplus = surpluses(problem, s)
        for a, value in surplus.items():
            taken[m, a] = model.new_bool_var("")
            worth.append(taken[m, a] * int(value * GRID))
            contact = contacts.setdefault((m, int(rules.contact[a])), model.new_bool_var(""))
            model.add_implication(taken[m, a], contact)
        mine = [taken[m, a] for a in surplus]
        model.add(sum(mine) <= int(problem[MOST][s]))
        for o in set(offer.tolist()):
            model.add(sum(taken[m, a] for a in surplus if offer[a] == o) <= 1)
        for pair in rules.exclusive:
            model.add(sum(taken[m, a] for a in surplus if offer[a] in pair) <= 1)
        for d, members in enumerate(rules.members):
            counted = _counted((taken, contacts), members, rules.per_contact[d], [m])
            model.add(sum(counted) <= int(problem[CAP][d, s]))
    for e, members in enumerate(households.members):
        whole = households.per_contact[e]
        counted = _counted((taken, contacts), members, whole, range(len(rows)))
        model.add(sum(counted) <= int(room[e, rows[0]]))
    for offers in households.exclusive:
        one = {o: model.new_bool_var("") for o in offers}
        model.add(sum(one.values()) <= 1)
        for (_, a), var in taken.items():
            if offer[a] in one:
                model.add_implication(var, one[int(offer[a])])
    if forbidden is not None:
        model.add_bool_or(var.Not() if key in forbidden else var for key, var in taken.items())
    model.maximize(sum(worth))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    if solver.solve(model) == cp_model.INFEASIBLE:
        return -np.inf, frozenset()
    return round(solver.objective_value) / GRID, {
        key for key, var in taken.items() if solver.value(var)
    }


def _counted(variables, members, whole, heads):
    """Return the variables of what a cap counts of some members."""
    taken, contacts = variables
    if whole:
        return [v for (m, c), v in contacts.items() if m in heads and members[c]]
    return [v for (m, a), v in taken.items() if m in heads and members[a]]

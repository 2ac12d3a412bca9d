"""Random allocation problems with households, and their plain definition."""

from dataclasses import replace
from itertools import groupby, product

import numpy as np
from hypothesis import strategies as st

from engine.block import MEMBER_BITS, Block
from engine.household_rules import HouseholdRules
from kernels.choose import MUST
from tests import problems

LOW = (1 << MEMBER_BITS) - 1


@st.composite
def small_problems(draw, *, with_minimums=True):
    """A problem of up to six subscribers in households of up to three, in up to three blocks."""
    problem = draw(
        problems.small_problems(with_minimums=with_minimums, related=draw(st.booleans()))
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rules = replace(problem.rules, requires=())
    none = [block_with(b, fewest=b.fewest * 0) for b in problem.blocks]
    found = with_households(replace(problem, rules=rules, blocks=none), rng, largest=3)
    return rearranged(found, rng, draw(st.integers(1, 3)))


def block_with(block, **change):
    return Block(**block.__dict__ | change)


def with_households(problem, rng, *, largest, share=0.8, caps=None):
    """Return the problem with households of up to ``largest``; ``caps``: [E, A] bool, or drawn."""
    whole = Block(
        **{
            name: np.concatenate([getattr(b, name) for b in problem.blocks], axis=-1)
            for name in problem.blocks[0].__dict__
        }
    )
    size, offer, contact = len(whole), problem.offer, problem.rules.contact
    if caps is None:
        caps = _caps(problem, rng)
    per_contact = (caps == caps[:, contact]).all(axis=1) & (rng.random(len(caps)) < 0.5)
    offers = np.unique(offer).tolist()
    sets = [tuple(rng.permutation(offers)[:3].tolist()) for _ in range(rng.integers(0, 2))]
    joint = HouseholdRules(caps, per_contact, [own for own in sets if len(own) > 1])
    sizes, household = [], np.full(size, -1)
    while sum(sizes) < size:
        sizes.append(int(rng.integers(2, largest + 1)) if rng.random() < share else 1)
    number = np.repeat(np.arange(len(sizes)), sizes)[:size]
    numbers = rng.integers(0, 2**63 - 1, len(sizes))
    counted = np.bincount(number, minlength=len(sizes))
    is_member = counted[number] > 1
    household[is_member] = numbers[number[is_member]]
    room = rng.choice(np.uint8([0, 1, 1, 2, 2, 3, 255]), (len(caps), len(sizes)))[:, number]
    p = whole.propensity.copy()
    for e, members in enumerate(caps):
        p[np.ix_(members, is_member & (room[e] == 0))] = np.nan
    key = np.where(
        is_member, (household >> MEMBER_BITS << MEMBER_BITS) | whole.key & LOW, whole.key
    )
    key = np.where(is_member, key ^ np.arange(size), key)  # of small problems the low bits are 0
    found = block_with(
        whole, key=key, propensity=p, household=household[None].astype(np.int64), room=room
    )
    rules = replace(problem.rules, households=joint)
    return rearranged(replace(problem, rules=rules, blocks=[found]), rng, 1)


def _caps(problem, rng):
    """Draw caps on all, on each channel, on each offer, or on some actions."""
    offer, channel = problem.offer, problem.channel
    kinds = [
        np.ones((1, len(offer)), bool),
        channel == np.unique(channel)[:, None],
        offer == np.unique(offer)[:, None],
        rng.random((1, len(offer))) < 0.6,
    ]
    taken = [kinds[i] for i in rng.permutation(4)[: rng.integers(0, 3)]]
    return np.concatenate([np.zeros((0, len(offer)), bool), *taken])


def rearranged(problem, rng, blocks):
    """Return the problem with households dealt into so many blocks; those alone come first."""
    whole = Block(
        **{
            name: np.concatenate([getattr(b, name) for b in problem.blocks], axis=-1)
            for name in problem.blocks[0].__dict__
        }
    )
    own = whole.household[0]
    place = rng.integers(0, blocks, len(whole))
    known, first, number = np.unique(own, return_index=True, return_inverse=True)
    place = np.where(own < 0, place, place[first[number.reshape(-1)]])
    rows = []
    for b in range(blocks):
        alone = rng.permutation(np.flatnonzero((place == b) & (own < 0)))
        members = np.flatnonzero((place == b) & (own >= 0))
        shuffled = rng.permutation(known.max(initial=0) % 97 + 97)[own[members] % 97]
        rows.append([*alone, *members[np.lexsort((whole.key[members], own[members], shuffled))]])
    return problem.with_blocks([whole.take(np.array(r, np.int64)) for r in rows])


def homes(problem):
    """Return every household, or subscriber alone, as its subscribers in plain words."""
    found, number = [], 0
    for block in problem.blocks:
        for s in range(len(block)):
            number -= 1
            home = int(block.household[0, s])
            found.append((number if home < 0 else home, block.room[:, s].tolist()))
    rows = list(zip(problems.in_words(problem), found, strict=True))
    rows.sort(key=lambda row: (row[1][0], row[0]["key"]))
    return [
        ([subscriber for subscriber, _ in own], None if home < 0 else room)
        for (home, room), own in (
            ((first[1][0], first[1][1]), [first, *rest])
            for first, *rest in (list(g) for _, g in groupby(rows, key=lambda row: row[1][0]))
        )
    ]


def keeps_together(problem, room, bundles):
    """Whether the bundles of a household's members keep its caps and exclusions.

    ``room``: of its caps; None: of who is alone, for whom only exclusions hold.
    """
    joint, offer, contact = problem.rules.households, problem.offer, problem.rules.contact
    for e, members in enumerate(joint.members if room is not None else ()):
        used = 0
        for bundle in bundles:
            counted = [a for a in bundle if members[a]]
            used += len({int(contact[a]) for a in counted} if joint.per_contact[e] else counted)
        if used > room[e]:
            return False
    had = {int(offer[a]) for bundle in bundles for a in bundle}
    return all(len(had & set(own)) <= 1 for own in joint.exclusive)


def joint_bundles(problem, home):
    """Return all that a household may choose: a bundle for each member."""
    subscribers, room = home
    each = [problems.bundles_of(problem, subscriber) for subscriber in subscribers]
    return [found for found in product(*each) if keeps_together(problem, room, found)]


def outcomes(problem):
    """Return every use of the limits that whole bundles can have -> the most value with it."""
    found = {(0,) * len(problem.rows): 0}
    for home in homes(problem):
        choices = {}
        for bundles in joint_bundles(problem, home):
            value, use = 0, (0,) * len(problem.rows)
            for subscriber, bundle in zip(home[0], bundles, strict=True):
                more, own = problems.worth(problem, subscriber, bundle)
                value, use = value + more, tuple(u + o for u, o in zip(use, own, strict=True))
            choices[use] = max(value, choices.get(use, value))
        grown = {}
        for use, value in found.items():
            for own, more in choices.items():
                total = tuple(u + o for u, o in zip(use, own, strict=True))
                grown[total] = max(value + more, grown.get(total, value + more))
        found = grown
    return found


def dual(problem, prices):
    """Return the Lagrangian bound at prices, in whole units of value, by its definition."""
    each = [price / problems.USE_UNIT * problems.VALUE_UNIT for price in prices]
    total = sum(p * b for p, b in zip(each, problems.limits_of(problem), strict=True))
    for home in homes(problem):
        total += max(
            sum(
                worth - sum(p * u for p, u in zip(each, use, strict=True))
                for subscriber, bundle in zip(home[0], bundles, strict=True)
                for worth, use in [problems.worth(problem, subscriber, bundle)]
            )
            for bundles in joint_bundles(problem, home)
        )
    return total


def value_of(problem, chosen):
    """Return an allocation's value in whole units, after checking every rule and every limit."""
    found = problems.bundles_by_key(problem, chosen)
    for home in homes(problem):
        bundles = [found[subscriber["key"]] for subscriber in home[0]]
        assert keeps_together(problem, home[1], bundles), (home, bundles)
    return problems.value_of(problem, chosen)


def realistic(subscribers, *, seed=0, largest=4, blocks=1, width=2, **more):
    """Return a realistic problem in which households have two contacts and each offer once."""
    problem = problems.realistic(subscribers, seed=seed, width=width, **more)
    rng = np.random.default_rng([seed, 3])
    offers = np.unique(problem.offer)
    caps = np.concatenate([np.ones((1, len(problem.offer)), bool),
                           problem.offer == offers[:, None]])  # fmt: skip
    found = with_households(problem, rng, largest=largest, share=0.3, caps=caps)
    room = np.uint8([2] + [1] * len(offers))
    whole = [block_with(b, room=np.repeat(room[:, None], len(b), axis=1)) for b in found.blocks]
    assert not any((b.fewest % MUST).any() for b in whole)
    return rearranged(found.with_blocks(whole), rng, blocks)

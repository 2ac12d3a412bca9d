"""The best bundles of a household's members together, against trying them all."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.certificate_bundles import best_of
from engine.certificate_joint import best_together


@st.composite
def households(draw, most_pairs=6, most_members=4):
    """Some households: few pairs, and few distinct worths, so that ties happen."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pairs, caps = draw(st.integers(1, most_pairs)), draw(st.integers(0, 2))
    joint, sets = draw(st.integers(0, 5)), draw(st.integers(0, 2))
    sizes = draw(st.lists(st.integers(1, most_members), min_size=1, max_size=3))
    offer = rng.integers(0, pairs, pairs) if draw(st.booleans()) else np.arange(pairs)
    contact = np.arange(pairs)
    if draw(st.booleans()):
        contact = np.where(rng.random(pairs) < 0.5, 0, contact)
    counted = rng.random((caps + joint, pairs)) < draw(st.sampled_from([0.3, 0.6, 1.0]))
    exclusive = np.array([np.isin(offer, rng.integers(0, pairs, 2)) for _ in range(sets)], bool)
    exclusive = exclusive.reshape(sets, pairs)
    by_contact = rng.random(caps + joint) < draw(st.sampled_from([0.0, 0.5]))
    counted[by_contact] = counted[by_contact][:, contact]  # a contact counts as a whole
    is_joint = np.arange(caps + joint) >= caps
    members = sum(sizes)
    left = rng.integers(0, 5, (members, caps + joint)).astype(np.uint8)
    room = rng.integers(0, draw(st.sampled_from([2, 4, 6])), (len(sizes), joint))
    left[:, caps:] = np.repeat(room, sizes, axis=0)
    conflict = offer[:, None] == offer
    for own in exclusive:
        conflict |= own[:, None] & own & (offer[:, None] != offer)
    free = (
        left[:, :, None, None], np.zeros(members, np.int64), np.zeros(members, bool),
        np.zeros(members, np.int64), counted, by_contact, contact, offer, conflict[None],
        np.zeros((0, pairs), bool), np.zeros((0, pairs), bool),
        counted.all(axis=1) & ~by_contact,
    )  # fmt: skip
    low, high = draw(st.sampled_from([(-1, 3), (1, 9), (10, 30), (-1, 10**12)]))
    worth = rng.integers(low, high, (members, pairs, 1))
    is_open = (rng.random((members, pairs)) < draw(st.sampled_from([0.8, 1.0]))).astype(np.uint16)
    begin = np.concatenate([[0], np.cumsum(sizes)])
    return worth, is_open, begin, free, (is_joint, exclusive)


def uses(bundle, counted, by_contact, contact):
    """Return how many contacts of a bundle a cap counts."""
    own = [p for p in bundle if counted[p]]
    return len({contact[p] for p in own}) if by_contact else len(own)


def best_by_trying(worth, is_open, free, joint):
    """Return the most that bundles of one household are worth: all of them are tried.

    Of those that use as much of the household's caps, and have the same of offers that exclude
    others, the best is kept, member by member.
    """
    left, _, _, _, counted, by_contact, contact, offer, conflict, *_ = free
    is_joint, exclusive = joint
    tried = [b for size in range(5) for b in combinations(range(worth.shape[1]), size)
             if not any(conflict[0, p, q] for p, q in combinations(b, 2))]  # fmt: skip
    used = [[uses(b, *cap, contact) for cap in zip(counted, by_contact, strict=True)]
            for b in tried]  # fmt: skip
    has = [frozenset(int(offer[p]) for p in b if exclusive[:, p].any()) for b in tried]
    sets = [set(offer[own].tolist()) for own in exclusive]
    room, best = left[0, :, 0, 0][is_joint], {((0,) * int(is_joint.sum()), frozenset()): 0}
    for i in range(len(worth)):
        then = {}
        for b, mine, offers in zip(tried, used, has, strict=True):
            if not all(is_open[i, p] for p in b) or (np.array(mine) > left[i, :, 0, 0]).any():
                continue
            gain = int(worth[i, list(b), 0].sum())
            for (before, others), total in best.items():
                now = tuple(np.array(before, int) + np.array(mine, int)[is_joint])
                both = offers | others
                if (now <= room).all() and all(len(both & own) < 2 for own in sets):
                    state = now, both
                    then[state] = max(then.get(state, total + gain), total + gain)
        best = then
    return max(best.values())


def together(instance, effort):
    """Return what is found for each household: its worth, and the most that it may be."""
    worth, is_open, begin, free, joint = instance
    highest, chosen = best_of(worth, is_open, free)
    found = best_together(worth, is_open, begin, highest, chosen, free, (*joint, *effort))
    for h, total in enumerate(found.tolist()):
        rows = slice(begin[h], begin[h + 1])
        own = (free[0][rows], *free[1:])
        yield total, best_by_trying(worth[rows], is_open[rows], own, joint), highest[rows].sum()


@settings(max_examples=400)
@given(households(), st.sampled_from([1, 3, 6, 64]), st.sampled_from([0, 1, 5, 10**4]))
def test_the_best_together_is_the_best(instance, states, unpriced):
    for total, best, _ in together(instance, (states, unpriced, 10**4)):
        assert total == best


@settings(max_examples=60)
@given(households(), st.integers(0, 3), st.integers(0, 3))
def test_with_few_branches_it_is_not_too_low(instance, unpriced, branches):
    for total, best, alone in together(instance, (2, unpriced, branches)):
        assert best <= total <= alone

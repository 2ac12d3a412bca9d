"""The best bundles of a household's members together, against trying them all."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import certificate_joint
from engine.certificate_bundles import best_of
from engine.certificate_joint import best_together


@st.composite
def households(draw, most_pairs=5, most_members=3):
    """Some households: few pairs, and few distinct worths, so that ties happen."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pairs, caps = draw(st.integers(1, most_pairs)), draw(st.integers(0, 2))
    joint, sets = draw(st.integers(0, 4)), draw(st.integers(0, 2))
    sizes = draw(st.lists(st.integers(1, most_members), min_size=1, max_size=3))
    offer = rng.integers(0, pairs, pairs)
    contact = np.arange(pairs)
    if draw(st.booleans()):
        contact = np.where(rng.random(pairs) < 0.5, 0, contact)
    counted = rng.random((caps + joint, pairs)) < draw(st.sampled_from([0.4, 0.8, 1.0]))
    exclusive = np.isin(offer, [rng.integers(0, pairs, 2)] * sets)
    exclusive = np.array([np.isin(offer, rng.integers(0, pairs, 2)) for _ in range(sets)], bool)
    exclusive = exclusive.reshape(sets, pairs)
    by_contact = rng.random(caps + joint) < 0.5
    is_joint = np.arange(caps + joint) >= caps
    members = sum(sizes)
    left = rng.integers(0, 3, (members, caps + joint)).astype(np.uint8)
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
    worth = rng.integers(-1, draw(st.sampled_from([3, 9, 10**12])), (members, pairs, 1))
    is_open = (rng.random((members, pairs)) < 0.8).astype(np.uint16)
    begin = np.concatenate([[0], np.cumsum(sizes)])
    return worth, is_open, begin, free, (is_joint, exclusive)


def uses(bundle, counted, by_contact, contact):
    """Return how many contacts of a bundle a cap counts."""
    own = [p for p in bundle if counted[p]]
    return len({contact[p] for p in own}) if by_contact else len(own)


def best_by_trying(worth, is_open, free, joint):
    """Return the most that bundles of one household are worth: all of them are tried."""
    left, _, _, _, counted, by_contact, contact, offer, conflict, *_ = free
    is_joint, exclusive = joint
    pairs = range(worth.shape[1])
    tried = [b for size in range(5) for b in combinations(pairs, size)]
    of_caps = [[uses(b, *cap, contact) for cap in zip(counted, by_contact, strict=True)]
               for b in tried]  # fmt: skip
    own = []
    for i in range(len(worth)):
        own.append([
            (int(worth[i, list(b), 0].sum()), used, b) for b, used in zip(tried, of_caps, strict=True)
            if all(is_open[i, p] for p in b)
            and not any(conflict[0, p, q] for p, q in combinations(b, 2))
            and all(u <= room for u, room in zip(used, left[i, :, 0, 0], strict=True))
        ])  # fmt: skip

    def keeps(together):
        used = np.array([used for _, used, _ in together]).reshape(len(together), len(counted))
        if (used.sum(axis=0) > left[0, :, 0, 0])[is_joint].any():
            return False
        has = [p for _, _, b in together for p in b]
        return all(len({offer[p] for p in has if one[p]}) < 2 for one in exclusive)

    return max(sum(w for w, _, _ in together) for together in product(*own) if keeps(together))


@settings(max_examples=150)
@given(households(), st.sampled_from([1, 3, 6, 256]))
def test_the_best_together_is_the_best(instance, states):
    worth, is_open, begin, free, joint = instance
    highest, chosen = best_of(worth, is_open, free)
    found = best_together(worth, is_open, begin, highest, chosen, free, (*joint, states))
    for h, total in enumerate(found.tolist()):
        rows = slice(begin[h], begin[h + 1])
        own = (free[0][rows], *free[1:])
        assert total == best_by_trying(worth[rows], is_open[rows], own, joint)

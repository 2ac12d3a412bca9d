"""Whether the simple rules may add an action to those that a subscriber has.

``rules`` are the arrays of :meth:`engine.rules.Rules.arrays`.
"""

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _is_joined(had: Any, count: int, a: int, contact: Any) -> Any:
    found = False
    for j in range(count):
        found |= contact[had[j]] == contact[a]
    return found


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def may_join(had: Any, count: int, a: int, left: Any, rules: Any) -> Any:
    """Return whether an action may join those that a subscriber has, within the caps left."""
    _, _, contact, cap_indptr, cap_group, per_contact, conflicts, requires = rules
    for j in range(count):
        if conflicts[a, had[j] >> 6] >> (had[j] & 63) & 1:
            return False
    for k in range(cap_indptr[a], cap_indptr[a + 1]):
        d = cap_group[k]
        if left[d] <= 0 and not (per_contact[d] and _is_joined(had, count, a, contact)):
            return False
    for r in range(requires.shape[0]):
        met = True
        for word in range(requires.shape[2]):
            met = met and requires[r, a, word] == 0
        for j in range(count):
            met = met or bool(requires[r, a, had[j] >> 6] >> (had[j] & 63) & 1)
        if not met:
            return False
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def fill_caps(had: Any, count: int, a: int, left: Any, rules: Any) -> None:
    """Take what an action uses off the caps left, beside those that a subscriber has."""
    _, _, contact, cap_indptr, cap_group, per_contact, _, _ = rules
    for k in range(cap_indptr[a], cap_indptr[a + 1]):
        d = cap_group[k]
        if not (per_contact[d] and _is_joined(had, count, a, contact)):
            left[d] -= 1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def household_allows(  # noqa: PLR0917 (arrays, as kernels take them)
    had: Any, count: int, a: int, left: Any, held: Any, contact: Any, joint: Any
) -> Any:
    """Return whether a household has room for an action of one member beside what all have.

    Args:
        had: the actions that the member has, ``count`` of them.
        count: how many.
        a: the action.
        left: [E] int64, what is left of the household's caps.
        held: [W] int64, bits of the actions that its members have.
        contact: [A] int32, the contact of an action.
        joint: the arrays of :meth:`engine.household_rules.HouseholdRules.arrays`.
    """
    indptr, caps, per_contact, conflicts = joint
    is_joined = _is_joined(had, count, a, contact)
    for word in range(len(held)):
        if conflicts[a, word] & held[word]:
            return False
    for k in range(indptr[a], indptr[a + 1]):
        if left[caps[k]] <= 0 and not (per_contact[caps[k]] and is_joined):
            return False
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def fill_household(  # noqa: PLR0917 (arrays, as kernels take them)
    had: Any, count: int, a: int, left: Any, held: Any, contact: Any, joint: Any
) -> None:
    """Take what an action of one member uses off the household's caps, and remember it."""
    indptr, caps, per_contact, _ = joint
    is_joined = _is_joined(had, count, a, contact)
    for k in range(indptr[a], indptr[a + 1]):
        if not (per_contact[caps[k]] and is_joined):
            left[caps[k]] -= 1
    held[a >> 6] |= np.int64(1) << (a & 63)

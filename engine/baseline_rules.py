"""Whether the simple rules may add an action to those that a subscriber has.

``rules`` are the arrays of :meth:`engine.rules.Rules.arrays`.
"""

from typing import Any

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

"""The best bundles of a household's members together, for the certificate.

Where the members' own best bundles keep the caps and exclusions over the household, they are the
best together. Else a cap that they pass becomes a digit of a state, how many contacts are used up:
each member has its best bundle for each number that it may use, and members are added one by one,

    best[i, state] = max over bundles of member i of worth + best[i - 1, state - use]

which is exact. A cap that finds no place among the states, or an exclusion, is branched on: one
member uses fewer of the cap, or it does not and the others have what that leaves; an offer is left
out, or all that it excludes are. A branch ends where its best is not above the best known. Where
that takes long, it begins again with prices of the caps without a place, whole numbers too: worths
less prices, and prices times rooms, are never too low together. The best is the best; after so many
branches the highest of those open is taken, which is not too low.

H households, R members in all, P pairs, D caps, X exclusions.
"""

from typing import Any

import numpy as np
from numba import njit

from engine.certificate_bundles import best_one, scratch_of
from engine.certificate_rules import BUNDLE

STEPS, PATIENCE = 60, 4  # towards better prices; those without a lower bound before a shorter step
HIGHEST = 2.0**60  # of prices times rooms, all together


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def best_together(  # noqa: PLR0917 (arrays, as kernels take them)
    worth: Any, is_open: Any, begin: Any, highest: Any, chosen: Any, free: Any, joint: Any
) -> Any:  # fmt: skip
    """Return [H] int64 the highest worth of the bundles of a household's members, on one day.

    Args:
        worth: [R, P, 1] int64, of members, household by household.
        is_open: [R, P] uint16.
        begin: [H + 1] int64, the first member of each household.
        highest: [R] int64, of each member alone, from :func:`engine.certificate_bundles.best_of`.
        chosen: [R, 4] int64, its bundle.
        free: from :meth:`engine.certificate_freedom.Freedom.arrays`.
        joint: [D] bool, caps over households; [X, P] bool, pairs of which a household has one
            offer; at most how many numbers of contacts used up are told apart, how many branches
            are looked at without prices, and how many in all.
    """
    found = np.zeros(len(begin) - 1, np.int64)
    left, group, conflict = free[0], free[3], free[8]
    scratch = scratch_of(worth.shape[1], 1, free[7])
    for h in range(len(found)):
        rows = slice(begin[h], begin[h + 1])
        for i in range(begin[h], begin[h + 1]):
            found[h] += highest[i]
        if begin[h + 1] - begin[h] < 2:
            continue
        room = left[begin[h], :, 0, 0]
        if _passed(chosen[rows], room, free[4:], joint)[0] >= 0:
            found[h] = _search(
                worth[rows], is_open[rows], left[rows, :, 0, 0], conflict[group[begin[h]]],
                free[4:], joint, scratch, found[h],
            )  # fmt: skip
    return found


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _used(bundle: Any, counted: Any, by_contact: Any, contact: Any) -> int:
    """Return how many contacts of a bundle a cap counts."""
    used = 0
    for n in range(BUNDLE):
        pair = bundle[n]
        if pair < 0:
            break
        is_new = counted[pair]
        for m in range(n if by_contact else 0):
            is_new &= not (counted[bundle[m]] and contact[bundle[m]] == contact[pair])
        used += is_new
    return used


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _passed(bundles: Any, room: Any, rules: Any, joint: Any) -> tuple[int, int]:
    """Return the cap that bundles pass by most, or else an exclusion and -1 before; else -1, -1.

    Exclusions come first.
    """
    counted, by_contact, contact, offer = rules[:4]
    is_joint, exclusive = joint[:2]
    for x in range(len(exclusive)):
        one = -1
        for i in range(len(bundles)):
            for n in range(BUNDLE):
                pair = bundles[i, n]
                if pair >= 0 and exclusive[x, pair]:
                    if one >= 0 and offer[pair] != one:
                        return len(counted) + x, one
                    one = offer[pair]
    worst, most = -1, 0
    for c in range(len(counted)):
        if is_joint[c]:
            used = 0
            for i in range(len(bundles)):
                used += _used(bundles[i], counted[c], by_contact[c], contact)
            if used - room[c] > most:
                worst, most = c, used - room[c]
    return worst, -1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _search(  # noqa: PLR0917 (arrays, as kernels take them)
    worth: Any, is_open: Any, left: Any, conflict: Any, rules: Any, joint: Any, scratch: Any,
    alone: Any,
) -> Any:  # fmt: skip
    """Return the highest worth of one household's bundles, given that without joint policies.

    A branch has what members may use of each cap at most, and of those over the household what they
    use at least; the pairs that are left out; the caps' prices; and the highest worth that it may
    have.
    """
    counted, by_contact, contact, offer = rules[:4]
    most_states, unpriced, branches = joint[2:]
    members, caps = left.shape
    room = np.minimum(left[0].astype(np.int64), BUNDLE * members)
    stack, size, best = 64, 1, np.int64(0)
    limit = np.empty((stack, members, caps), np.int64)
    least = np.zeros((stack, members, caps), np.int64)
    shut = np.zeros((stack, worth.shape[1]), np.bool_)
    price = np.zeros((stack, caps), np.int64)
    bound = np.full(stack, alone)
    limit[0] = left
    digits, told, states = np.empty(caps, np.int64), 0, 1  # the caps that states tell
    for turn in range(branches):
        while size and bound[size - 1] <= best:
            size -= 1
        if size == 0:
            return best
        if turn == unpriced:  # begin again
            told = min(told, 1)
            states = room[digits[0]] + 1 if told else 1
            price[0], best = _prices(
                worth, is_open, left, conflict, rules, room, joint, digits[:told], states, best,
                scratch,
            )  # fmt: skip
            size, bound[0], shut[0], limit[0], least[0] = 1, bound[:size].max(), False, left, 0
        if size + 2 > stack:
            stack *= 2
            limit, least, shut = _longer(limit), _longer(least), _longer(shut)
            price, bound = _longer(price), _longer(bound)
        node = size - 1
        size -= 1
        total, bundles = _together(
            worth, is_open, limit[node], shut[node], price[node], conflict, rules, room,
            digits[:told], states, scratch,
        )  # fmt: skip
        total = min(total, bound[node])
        best = max(best, _mended(bundles, worth, room, rules, joint))
        if total <= best:
            continue
        bound[node] = total
        wrong, one = _passed(bundles, room, rules, joint)
        if wrong < 0:  # only prices keep it from being the best: of what is not used up, or paid
            for c in range(caps):
                if by_contact[c] or _used_by_all(bundles, c, rules) < room[c]:
                    price[node, c] = 0
            size += 1
            continue
        if wrong < caps and turn < unpriced and states * (room[wrong] + 1) <= most_states:
            digits[told], told, states = wrong, told + 1, states * (room[wrong] + 1)
            size += 1
            continue
        # Two branches, where this one was and behind it.
        other = node + 1
        limit[other], least[other], shut[other] = limit[node], least[node], shut[node]
        price[other], bound[other] = price[node], total
        size += 2
        if wrong >= caps:
            for p in range(len(offer)):
                if joint[1][wrong - caps, p]:
                    shut[node, p] |= offer[p] == one
                    shut[other, p] |= offer[p] != one
            continue
        who, most = -1, 0
        for i in range(members):
            used = _used(bundles[i], counted[wrong], by_contact[wrong], contact)
            if used > least[node, i, wrong] and used > most:
                who, most = i, used
        assert who >= 0, "the least uses of a cap have no room"
        limit[node, who, wrong] = most - 1
        least[other, who, wrong] = most
        if not _share(limit[other], least[other], room[wrong], wrong):
            size -= 1
    for node in range(size):
        best = max(best, bound[node])
    return best


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _prices(  # noqa: PLR0917 (arrays, as kernels take them)
    worth: Any, is_open: Any, left: Any, conflict: Any, rules: Any, room: Any, joint: Any,
    digits: Any, states: int, best: Any, scratch: Any,
) -> Any:  # fmt: skip
    """Return [D] int64, prices of caps at which the bound is low, by subgradient steps.

    And the best worth that was found on the way. A step is as long as Polyak says, of what is
    between the bound and that worth. Caps that states tell have none.
    """
    members, caps = left.shape
    shut = np.zeros(worth.shape[1], np.bool_)
    is_priced = joint[0].copy()
    is_priced[digits] = False
    now, slope, found = np.zeros(caps), np.zeros(caps), np.zeros(caps, np.int64)
    lowest, stale, share = np.iinfo(np.int64).max, 0, 1.0
    for _ in range(STEPS):
        price = now.astype(np.int64)
        total, bundles = _together(
            worth, is_open, left.astype(np.int64), shut, price, conflict, rules, room, digits,
            states, scratch,
        )  # fmt: skip
        best = max(best, _mended(bundles, worth, room, rules, joint))
        stale += 1
        if total < lowest:
            lowest, stale, found = total, 0, price
        elif stale == PATIENCE:
            share, stale = share / 2, 0
        norm = 0.0
        for c in range(caps):
            slope[c] = room[c] - _used_by_all(bundles, c, rules) if is_priced[c] else 0
            if slope[c] > 0 and now[c] == 0:
                slope[c] = 0
            norm += slope[c] * slope[c]
        if norm == 0 or lowest <= best:
            break
        for c in range(caps):
            now[c] = max(0.0, now[c] - share * (total - best) / norm * slope[c])
        if (now * room).sum() > HIGHEST:
            break
    return found, best


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sharing(contact: Any, pair: int) -> int:
    """Return how many pairs of a bundle may be one contact with a pair, itself included."""
    found = 0
    for p in range(len(contact)):
        found += contact[p] == contact[pair]
    return min(found, BUNDLE)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _used_by_all(bundles: Any, cap: int, rules: Any) -> int:
    """Return how many contacts of all bundles a cap counts."""
    used = 0
    for i in range(len(bundles)):
        used += _used(bundles[i], rules[0][cap], rules[1][cap], rules[2])
    return used


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _mended(bundles: Any, worth: Any, room: Any, rules: Any, joint: Any) -> Any:
    """Return what bundles are worth without the actions that do not fit, the worthiest first."""
    members = len(bundles)
    kept, size = np.full((members, BUNDLE), -1), np.zeros(members, np.int64)
    left, total = bundles.copy(), np.int64(0)
    while True:
        who, place, most = -1, -1, np.int64(0)
        for i in range(members):
            for n in range(BUNDLE):
                if left[i, n] >= 0 and worth[i, left[i, n], 0] > most:
                    who, place, most = i, n, worth[i, left[i, n], 0]
        if who < 0:
            return total
        kept[who, size[who]] = left[who, place]
        left[who, place] = -1
        if _passed(kept, room, rules, joint)[0] < 0:
            size[who] += 1
            total += most
        else:
            kept[who, size[who]] = -1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _share(limit: Any, least: Any, room: int, cap: int) -> bool:
    """Leave each member what the others' least use of a cap leaves; return whether that can be."""
    needed = 0
    for i in range(len(limit)):
        needed += least[i, cap]
    for i in range(len(limit)):
        limit[i, cap] = min(limit[i, cap], room - (needed - least[i, cap]))
        if limit[i, cap] < least[i, cap]:
            return False
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _longer(rows: Any) -> Any:
    """Return an array with twice the rows."""
    return np.concatenate((rows, np.zeros_like(rows)))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _together(  # noqa: PLR0917 (arrays, as kernels take them)
    worth: Any, is_open: Any, limit: Any, shut: Any, price: Any, conflict: Any, rules: Any,
    room: Any, digits: Any, states: int, scratch: Any,
) -> Any:  # fmt: skip
    """Return the highest worth within the caps that states tell, and [members, 4] its bundles.

    Of the other caps a member keeps its own limit, and all pay the price of what they use but for
    as much as there is room. Of a contact's price each action pays a part, at most all together.
    """
    members, told = len(worth), len(digits)
    step, width = np.ones(told + 1, np.int64), 1  # of a digit in the number of a state
    for d in range(told):
        step[d + 1] = step[d] * (room[digits[d]] + 1)
        width *= min(room[digits[d]], BUNDLE) + 1
    toll, free = np.zeros(worth.shape[1], np.int64), np.int64(0)
    for c in range(len(price)):
        if price[c]:
            free += price[c] * room[c]
            for p in range(len(toll)):
                if rules[0][c, p]:
                    toll[p] += price[c] // (_sharing(rules[2], p) if rules[1][c] else 1)
    best, more = np.zeros(states, np.int64), np.empty(states, np.int64)
    came = np.empty((members, states), np.int64)
    top, use = np.empty((width, told), np.int64), np.empty((members, width, told), np.int64)
    value = np.empty((members, width), np.int64)
    bundle = np.empty((members, width, BUNDLE), np.int64)
    for i in range(members):
        n = _choices(
            worth[i] - toll.reshape((-1, 1)), is_open[i] * ~shut, limit[i], conflict, rules,
            digits, scratch, top, use[i], value[i], bundle[i],
        )  # fmt: skip
        for state in range(states):
            more[state] = -1
            for k in range(n):
                before, fits = state, True
                for d in range(told):
                    fits &= use[i, k, d] <= state // step[d] % (step[d + 1] // step[d])
                    before -= use[i, k, d] * step[d]
                if fits and best[before] + value[i, k] > more[state]:
                    more[state], came[i, state] = best[before] + value[i, k], k
        best[:] = more
    state, bundles = states - 1, np.empty((members, BUNDLE), np.int64)
    for back in range(members):
        i = members - 1 - back
        k = came[i, state]
        bundles[i] = bundle[i, k]
        for d in range(told):
            state -= use[i, k, d] * step[d]
    return best[states - 1] + free, bundles


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _choices(  # noqa: PLR0917 (arrays, as kernels take them)
    worth: Any, is_open: Any, limit: Any, conflict: Any, rules: Any, digits: Any, scratch: Any,
    top: Any, use: Any, value: Any, bundle: Any,
) -> int:  # fmt: skip
    """Write down a member's best bundles for all that it may use of some caps; return how many.

    A bundle is the best for all numbers between what it was the best for, ``top``, and its use.
    """
    counted, by_contact, contact = rules[:3]
    told, n = len(digits), 0
    left = limit.astype(np.uint8).reshape((len(limit), 1, 1))
    most = np.empty(told, np.int64)
    for d in range(told):
        most[d] = min(limit[digits[d]], BUNDLE)
    may = most.copy()
    while True:
        is_known = False
        for k in range(n):
            is_so = True
            for d in range(told):
                is_so &= use[k, d] <= may[d] <= top[k, d]
            if is_so:
                is_known = True
                break
        if not is_known:
            for d in range(told):
                left[digits[d], 0, 0] = may[d]
            value[n] = best_one(
                worth, is_open, left, (0, False), conflict, rules, scratch, bundle[n]
            )  # fmt: skip
            for d in range(told):
                c = digits[d]
                use[n, d] = _used(bundle[n], counted[c], by_contact[c], contact)
            top[n] = may
            n += 1
        d = told - 1
        while d >= 0 and may[d] == 0:
            may[d] = most[d]
            d -= 1
        if d < 0:
            return n
        may[d] -= 1

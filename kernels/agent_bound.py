"""Bound a problem whose items use one resource each: a knapsack a resource, compiled by Numba.

    minimise    sum cost[e] x[e]
    subject to  exactly one item of each group, sum of use of each agent's items <= capacity

An agent is a resource with its items. With a price pi[g] for each group, what is left falls apart
into a knapsack an agent:

    L(pi) = sum_g pi[g] + sum_i min { sum (cost - pi) x : sum use x <= capacity_i }

is at most the least cost, at any pi. A knapsack's best cost with an item forced in (``up``) and
forced out (``down``) says what the item's choice would cost; summed over a group's items this
proves items away. All of it is in whole numbers: costs times ``unit``, prices in 1 / ``unit``.

Letters: E items, sorted by agent; N groups; M agents, the last of which has no limit.

Source:
    Fisher, Jaikumar, Van Wassenhove, "A multiplier adjustment method for the generalized
    assignment problem", Management Science 32(9), 1986; Posta, Ferland, Michelon, "An exact method
    with variable fixing for solving the generalized assignment problem", Computational
    Optimization and Applications 52, 2012.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

MOST = (1 << 63) - 1


class Items(NamedTuple):
    """The problem; none of it changes."""

    first: Any  # [M + 1] int64, agent i has the items first[i] .. first[i + 1] - 1
    group: Any  # [E] int64
    use: Any  # [E] int64, >= 0; 0 for the last agent
    cost: Any  # [E] int64
    capacity: Any  # [M] int64, >= 0; of the last agent: 0


class State(NamedTuple):
    """What is open at a node of the search, and room to work in."""

    alive: Any  # [E] bool, items not proved or decided away
    count: Any  # [N] int64, living items of a group
    room: Any  # [M] int64, capacity that decided groups leave
    trail: Any  # [E] int64, items that died, in order
    height: Any  # [1] int64, so many died
    taken: Any  # [E] bool, the knapsacks' answer
    up: Any  # [E] int64, what forcing an item in costs its knapsack
    down: Any  # [E] int64, what forcing it out costs
    reduced: Any  # [E] int64, cost * unit - pi
    table: Any  # [largest agent's items + 1, largest capacity + 1] int64
    back: Any  # [largest capacity + 1] int64
    chosen: Any  # [E] int64, items of negative reduced cost


def state_of(items: Items, groups: int) -> State:
    """Return the state in which everything is open."""
    count, agents = len(items.group), len(items.capacity)
    most = int(np.diff(items.first)[:-1].max(initial=0))
    room = int(items.capacity.max(initial=0))
    longs = [np.zeros(count, np.int64) for _ in range(5)]
    return State(
        alive=np.ones(count, np.bool_),
        count=np.bincount(items.group, minlength=groups).astype(np.int64),
        room=np.zeros(agents, np.int64),
        trail=longs[0],
        height=np.zeros(1, np.int64),
        taken=np.zeros(count, np.bool_),
        up=longs[1],
        down=longs[2],
        reduced=longs[3],
        table=np.zeros((most + 1, room + 1), np.int64),
        back=np.zeros(room + 1, np.int64),
        chosen=longs[4],
    )


# Elements are copied in a loop: Numba takes seconds to compile an assignment to a slice.
@njit(cache=True, nogil=True)
def copy(source: Any, target: Any) -> None:
    """Copy a vector."""
    for i in range(len(source)):
        target[i] = source[i]


@njit(cache=True, nogil=True)
def drop(items: Any, state: Any, e: int) -> None:
    """Let an item die."""
    state.alive[e] = False
    state.count[items.group[e]] -= 1
    state.trail[state.height[0]] = e
    state.height[0] += 1


@njit(cache=True, nogil=True)
def undo(items: Any, state: Any, height: int) -> None:
    """Bring back what died since the trail had this height."""
    while state.height[0] > height:
        state.height[0] -= 1
        e = state.trail[state.height[0]]
        state.alive[e] = True
        state.count[items.group[e]] += 1


@njit(cache=True, nogil=True)
def settle(items: Any, state: Any) -> bool:
    """Drop items that no longer fit; say whether a choice may be left."""
    agents = len(items.capacity)
    for g in range(len(state.count)):
        if state.count[g] == 0:
            return False
    while True:
        height = state.height[0]
        for i in range(agents):
            room = items.capacity[i]
            for e in range(items.first[i], items.first[i + 1]):
                if state.alive[e] and state.count[items.group[e]] == 1:
                    room -= items.use[e]
            if room < 0:
                return False
            state.room[i] = room
            for e in range(items.first[i], items.first[i + 1]):
                if state.alive[e] and items.use[e] > room and state.count[items.group[e]] > 1:
                    drop(items, state, e)
        if state.height[0] == height:
            return True


@njit(cache=True, nogil=True)
def _unlimited(items: Any, state: Any, i: int) -> int:
    """Take every item of negative reduced cost; return their sum."""
    total = 0
    for e in range(items.first[i], items.first[i + 1]):
        if state.alive[e] and state.count[items.group[e]] > 1:
            reduced = state.reduced[e]
            state.taken[e] = reduced < 0
            state.up[e] = max(reduced, 0)
            state.down[e] = max(-reduced, 0)
            total += min(reduced, 0)
    return total


@njit(cache=True, nogil=True)
def _fill(items: Any, state: Any, i: int) -> int:
    """Fill the knapsack's table; return how many items of negative reduced cost it has.

    ``table[k, w]`` is the best of the first k of them within w.
    """
    table, room, count = state.table, state.room[i], 0
    for w in range(room + 1):
        table[0, w] = 0
    for e in range(items.first[i], items.first[i + 1]):
        state.taken[e] = False
        if not state.alive[e] or state.count[items.group[e]] == 1 or state.reduced[e] >= 0:
            continue
        state.chosen[count] = e
        use, reduced = items.use[e], state.reduced[e]
        for w in range(use):
            table[count + 1, w] = table[count, w]
        for w in range(use, room + 1):
            table[count + 1, w] = min(table[count, w], table[count, w - use] + reduced)
        count += 1
    return count


@njit(cache=True, nogil=True)
def _knapsack(items: Any, state: Any, i: int) -> int:
    """Solve an agent's knapsack over undecided groups; set ``taken``, ``up`` and ``down``."""
    count = _fill(items, state, i)
    table, back, room = state.table, state.back, state.room[i]
    best, left = table[count, room], room
    for w in range(room + 1):
        back[w] = 0  # the best of the items after k within w
    for k in range(count - 1, -1, -1):
        e = state.chosen[k]
        use, reduced = items.use[e], state.reduced[e]
        if table[k + 1, left] != table[k, left]:
            state.taken[e] = True
            left -= use
        without, within = 0, 0
        for w in range(room + 1):
            without = min(without, table[k, w] + back[room - w])
        for w in range(room - use + 1):
            within = min(within, table[k, w] + back[room - use - w])
        state.up[e] = within + reduced - best
        state.down[e] = without - best
        for w in range(room, use - 1, -1):
            back[w] = min(back[w], back[w - use] + reduced)
    for e in range(items.first[i], items.first[i + 1]):
        if state.alive[e] and state.count[items.group[e]] > 1 and state.reduced[e] >= 0:
            state.up[e] = table[count, room - items.use[e]] + state.reduced[e] - best
            state.down[e] = 0
    return int(best)


@njit(cache=True, nogil=True)
def evaluate(items: Any, state: Any, pi: Any, unit: int) -> int:
    """Return L(pi) over what is open, in 1 / ``unit``; set ``taken``, ``up`` and ``down``.

    Call :func:`settle` first.
    """
    total, agents = 0, len(items.capacity)
    for g in range(len(pi)):
        if state.count[g] > 1:
            total += pi[g]
    for e in range(len(items.group)):
        if state.alive[e]:
            if state.count[items.group[e]] > 1:
                state.reduced[e] = items.cost[e] * unit - pi[items.group[e]]
            else:
                total += items.cost[e] * unit
    for i in range(agents - 1):
        total += _knapsack(items, state, i)
    return int(total + _unlimited(items, state, agents - 1))


@njit(cache=True, nogil=True)
def prove(items: Any, state: Any, room: int, downs: Any, least: Any) -> bool:
    """Drop items whose choice is proved to cost more than ``room`` above L(pi).

    Choosing an item forces it in and the others of its group out, in knapsacks of their own.

    Args:
        items: the problem.
        state: as :func:`evaluate` left it.
        room: units of 1 / ``unit``.
        downs: [N] int64, out: the sum of ``down`` in a group.
        least: [N] int64, out: the cheapest choice of a group above L(pi).

    Returns:
        False if some group has no choice left.
    """
    for g in range(len(downs)):
        downs[g], least[g] = 0, MOST
    for e in range(len(items.group)):
        g = items.group[e]
        if state.alive[e] and state.count[g] > 1:
            downs[g] += state.down[e]
    for e in range(len(items.group)):
        g = items.group[e]
        if state.alive[e] and state.count[g] > 1:
            least[g] = min(least[g], state.up[e] + downs[g] - state.down[e])
    for g in range(len(least)):
        if state.count[g] > 1 and least[g] > room:
            return False
    for e in range(len(items.group)):
        g = items.group[e]
        # A group that this very loop decided has an item left, within ``room`` as was checked.
        if state.alive[e] and state.count[g] > 1 and state.up[e] + downs[g] - state.down[e] > room:
            drop(items, state, e)
    return True

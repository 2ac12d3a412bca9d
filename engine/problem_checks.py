"""What the numbers of an allocation problem must be like, told in words where they are not.

Ranges keep every sum in 64 bits over 2**31 contacts and 10**8 subscribers: a coefficient is at most
``MOST_USE`` micro-units, a limit ``MOST_AMOUNT``, and weights sum to ``MOST_WEIGHT``. Sums over
contacts are of grid units: ``p`` at 2**-24, ``w p`` at 2**-34; what they are multiplied with is
whole numbers of any size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.limits import MICRO, MOST_AMOUNT, MOST_USE
from engine.parts import Parts, parts_of
from kernels.backend import library, to_cpu
from kernels.choose import PROPENSITY_GRID, WEIGHT_GRID
from kernels.households import MOST_MEMBERS

if TYPE_CHECKING:
    from engine.block import Block
    from engine.problem import Problem, Row

MOST_WEIGHT = 1 << 28  # sum of all weights: keeps the 64-bit sums of w p from overflowing
LARGEST_WEIGHT = 1000.0
POSITIVE = ("contacts", "acceptances", "cost")  # measures that no contact makes smaller
CHUNK = 65_536  # subscribers looked at together

_RANGE = f"allowed is {MOST_USE} on either side of 0, {MOST_USE / MICRO:,.0f}"
_GRID = f"a multiple of 2**-24 from 0 to 1, such as rint(p * {PROPENSITY_GRID}) / {PROPENSITY_GRID}"
_ALLOWED = {
    "propensity": f"allowed is {_GRID}, or NaN where the action is not open",
    "weight": f"allowed is a multiple of 1/{WEIGHT_GRID} from 0 to {LARGEST_WEIGHT:g}",
    "key": "allowed is 0 or more",
    "group": "allowed is a column of in_scope, from 0 on",
    "cap": "a cap of an open action must be 1 or more; make its propensity NaN instead",
    "household": f"at most {MOST_MEMBERS} neighbours are allowed in a household",
}


def tables(problem: "Problem") -> list[str]:
    """Return what is wrong with a problem's actions, coefficients and limits."""
    actions, limits = len(problem.offer), len(problem.rows)
    terms = limits if problem.term_of is None else len(problem.term_of)
    by_term = (terms, actions)
    wanted: list[tuple[str, tuple[int, ...], str]] = [
        ("offer", (actions,), "iu"), ("channel", (actions,), "iu"),
        ("value_fixed", (actions,), "iu"), ("value_accept", (actions,), "iu"),
        ("use_fixed", by_term, "iu"), ("use_accept", by_term, "iu"), ("limit", (limits,), "iu"),
    ]  # fmt: skip
    if problem.penalty is not None:
        wanted.append(("penalty", (limits,), "f"))
    found = [text for each in wanted for text in _shape(problem, *each)]
    scope = np.asarray(problem.in_scope)
    if scope.ndim != 2 or len(scope) != terms or scope.dtype != bool:
        found.append(
            f"in_scope: is {scope.dtype} of shape {scope.shape}; bool with {terms} rows is needed"
        )
    found = found or _term_order(problem)
    return found or [*_coefficients(problem), *_penalties(problem)]


def _shape(problem: "Problem", name: str, shape: tuple[int, ...], kinds: str) -> list[str]:
    array = np.asarray(getattr(problem, name))
    if array.shape == shape and (array.dtype.kind in kinds or not array.size):
        return []
    what = "whole numbers" if "i" in kinds else "float64"
    return [f"{name}: is {array.dtype} of shape {array.shape}; {what} of shape {shape} are needed"]


def _term_order(problem: "Problem") -> list[str]:
    if problem.term_of is None:
        return []
    terms, limits = np.asarray(problem.term_of), len(problem.rows)
    if np.array_equal(np.unique(terms), np.arange(limits)) and (np.diff(terms) >= 0).all():
        return []
    return [f"term_of: must never fall and name each of the {limits} limits, got {terms.tolist()}"]


def _coefficients(problem: "Problem") -> list[str]:
    found = []
    for name in ("value_fixed", "value_accept"):
        array = getattr(problem, name)
        at = np.flatnonzero((array > MOST_USE) | (array < -MOST_USE))
        if len(at):
            found.append(
                f"{name}: got {int(array[at[0]])} micro-units for action {at[0]}, and {len(at)} "
                f"such in all; {_RANGE} of the currency"
            )
    signs = np.array([sign_of(row) for row in problem.rows], np.int64)[problem.terms]
    for name in ("use_fixed", "use_accept"):
        array = getattr(problem, name)
        large = (array > MOST_USE) | (array < -MOST_USE)
        turned = ~large & (np.sign(array) * signs[:, None] < 0)
        for wrong in (large, turned):
            for t in np.flatnonzero(wrong.any(axis=1)).tolist():
                row, at = problem.rows[int(problem.terms[t])], np.flatnonzero(wrong[t])
                allowed = allowed_sign(row) if wrong is turned else f"{_RANGE} units"
                found.append(
                    f"{name} of {row.name}: got {int(array[t, at[0]])} micro-units for action "
                    f"{at[0]}, and {len(at)} such in all; {allowed}"
                )
    limit = problem.limit
    return found + [
        f"limit of {problem.rows[k].name}: got {int(limit[k])} micro-units; allowed is "
        f"{MOST_AMOUNT} on either side of 0"
        for k in np.flatnonzero((limit > MOST_AMOUNT) | (limit < -MOST_AMOUNT)).tolist()
    ]


def sign_of(row: "Row") -> int:
    """Return the sign that a constraint's uses have, as they are stored; 0: either one."""
    if row.measure not in POSITIVE or row.quotient is not None:
        return 0
    return -1 if row.is_minimum else 1


def allowed_sign(row: "Row") -> str:
    """Return in words which uses a constraint may have."""
    side = "0 or less, as a minimum is stored negated" if row.is_minimum else "0 or more"
    return f"the {row.measure} of a contact must be {side}"


def _penalties(problem: "Problem") -> list[str]:
    if problem.penalty is None:
        return []
    return [
        f"penalty of {row.name}: got {penalty:g}; it must be above 0, or inf for a hard limit"
        for row, penalty in zip(problem.rows, problem.penalty.tolist(), strict=True)
        if not penalty > 0
    ]


@dataclass(frozen=True)
class _Told:
    """What a block tells of itself."""

    subscribers: int
    weight: float  # of all, exact
    shapes: list[str]  # arrays that do not fit together, in words
    wrong: list[tuple[str, int, int, float, int]]  # array, count, first row, its number and column


def blocks(problem: "Problem") -> list[str]:
    """Return what is wrong with the numbers of a problem's subscribers: each array once.

    A line has the count over all blocks, the first subscriber by position and its action or cap.
    """
    sizes = len(problem.offer), problem.groups, problem.spans, problem.rules
    heard = parts_of(problem.blocks).map(_told, sizes)
    shapes = [f"block {b}: {text}" for b, told in enumerate(heard) for text in told.shapes]
    if shapes:
        return shapes
    found: dict[str, list[Any]] = {}
    first = 0
    for told in heard:
        for name, count, row, number, column in told.wrong:
            which = f"subscriber {first + row}"
            if column >= 0:
                which += f", {'cap' if name == 'cap' else 'action'} {column}"
            found.setdefault(name, [number, which, 0])[2] += count
        first += told.subscribers
    lines = [
        f"{name}: got {number:.9g} for {which}, and {count} such in all; {_ALLOWED[name]}"
        for name, (number, which, count) in found.items()
    ]
    total = sum(told.weight for told in heard)
    if "weight" not in found and total > MOST_WEIGHT:
        lines.append(f"weight: sums to {total:,.0f}; at most {MOST_WEIGHT:,} is allowed")
    return lines


def _told(block: "Block", sizes: tuple[int, int, int, Any]) -> _Told:
    actions, groups, spans, rules = sizes
    subscribers, members = block.propensity.shape[-1], rules.members
    is_spread = rules.days == 1 or len(block.propensity) == actions
    kinds = (actions, 0, 0)
    if not is_spread:
        kinds = actions // rules.days, rules.classes, spans
    sizes_of = len(members), int(rules.households is not None), rules.household_caps
    shapes = _shapes(block, kinds, sizes_of, subscribers)
    if shapes:
        return _Told(subscribers, 0.0, shapes, [])
    wrong = [
        *_matrix("propensity", block.propensity, _bad_propensity),
        *_column("weight", block.weight, _bad_weight),
        *_column("key", block.key, lambda key: key < 0),
        *_column("group", block.group, lambda group: (group < 0) | (group >= groups)),
        *_closed(block, members, 1 if is_spread else rules.days, rules.day_class),
    ]
    for household in block.household:
        wrong += _column("household", household, _is_one_too_many)
    return _Told(subscribers, float(block.weight.sum(dtype="float64")), [], wrong)


def _shapes(
    block: "Block", kinds: tuple[int, int, int], caps: tuple[int, int, int], subscribers: int
) -> list[str]:
    one = (subscribers,)
    rows_by, classes_by, spans_by = ((count, subscribers) for count in kinds)
    caps_by, household_by, room_by = ((count, subscribers) for count in caps)
    wanted = {
        "key": (one, "int64"), "propensity": (rows_by, "float32"), "weight": (one, "float32"),
        "group": (one, "int32"), "most": (one, "uint8"), "fewest": (one, "uint8"),
        "cap": (caps_by, "uint8"), "days": (classes_by, "uint16"), "spans": (spans_by, "int64"),
        "household": (household_by, "int64"), "room": (room_by, "uint8"),
    }  # fmt: skip
    return [
        f"{name}: is {array.dtype} of shape {array.shape}; {dtype} of shape {shape} is needed"
        for name, (shape, dtype) in wanted.items()
        if (array := getattr(block, name)).shape != shape or array.dtype != dtype
    ]


def _bad_propensity(p: Any) -> Any:
    side = library(p)
    with np.errstate(over="ignore"):  # what is too large is bad, not a warning
        scaled = p * PROPENSITY_GRID  # a power of two: exact
    return (p == p) & ~((p >= 0) & (p <= 1) & (side.rint(scaled) == scaled))


def _bad_weight(weight: Any) -> Any:
    side = library(weight)
    with np.errstate(over="ignore"):
        scaled = weight * WEIGHT_GRID
    return ~((weight >= 0) & (weight <= LARGEST_WEIGHT) & (side.rint(scaled) == scaled))


def _is_one_too_many(household: Any) -> Any:
    found = library(household).zeros(len(household), bool)
    own = household[MOST_MEMBERS:]
    found[MOST_MEMBERS:] = (own >= 0) & (own == household[: len(own)])
    return found


def _column(name: str, array: Any, is_bad: Callable[[Any], Any]) -> list[Any]:
    rows = to_cpu(library(array).flatnonzero(is_bad(array)))
    return [(name, len(rows), int(rows[0]), float(array[int(rows[0])]), -1)] if len(rows) else []


def _matrix(name: str, array: Any, is_bad: Callable[[Any], Any]) -> list[Any]:
    """Look at a matrix [A, S] a few columns at a time, so that little memory is needed."""
    side, count, first = library(array), 0, None
    for low in range(0, array.shape[1], CHUNK):
        bad = is_bad(array[:, low : low + CHUNK])
        if not bool(bad.any()):
            continue
        count += int(bad.sum())
        if first is None:
            row = int(side.flatnonzero(bad.any(axis=0))[0])
            first = low + row, int(side.flatnonzero(bad[:, row])[0])
    if first is None:
        return []
    row, column = first
    return [(name, count, row, float(array[column, row]), column)]


def _closed(block: "Block", members: Any, days: int, day_class: Any) -> list[Any]:
    """Return the caps of 0 that count an open action."""
    count, first = 0, None
    for d, counted in enumerate(members):
        rows = library(block.cap).flatnonzero(block.cap[d] == 0)
        if not len(rows) or not counted.any():
            continue
        closed = np.zeros(len(rows), bool)
        for a in np.flatnonzero(counted).tolist():
            p = to_cpu(block.propensity[a // days][rows])
            is_open = p == p
            if len(block.days):
                is_open &= to_cpu(block.days[day_class[a // days]][rows]) >> a % days & 1 == 1
            closed |= is_open
        count += int(closed.sum())
        if closed.any():
            place = int(to_cpu(rows)[int(closed.argmax())]), d
            first = min(first or place, place)
    return [] if first is None else [("cap", count, first[0], 0.0, first[1])]


@dataclass(frozen=True, eq=False)
class Checked:
    """Subscribers whose numbers were found right, and what they were found right for."""

    blocks: Any  # as :func:`_listed`
    actions: int
    groups: int
    members: Any  # [D, A] of the rules
    days: int

    @staticmethod
    def of(problem: "Problem") -> "Checked":
        """Return that the subscribers of a problem are right for it."""
        kinds = len(problem.offer), problem.groups
        return Checked(_listed(problem), *kinds, problem.rules.members, problem.rules.days)

    def holds(self, problem: "Problem") -> bool:
        """Say whether nothing is another that decides what a subscriber's numbers may be."""
        own, other = self.blocks, _listed(problem)
        is_same = own is other or (
            isinstance(own, tuple)
            and isinstance(other, tuple)
            and len(own) == len(other)
            and all(one is two for one, two in zip(own, other, strict=True))
        )
        return (
            is_same
            and (self.actions, self.groups) == (len(problem.offer), problem.groups)
            and self.days == problem.rules.days
            and np.array_equal(self.members, problem.rules.members)
        )


def _listed(problem: "Problem") -> Any:
    """Return parts as they are, and of other blocks each: their list may get others."""
    return problem.blocks if isinstance(problem.blocks, Parts) else tuple(problem.blocks)


def problems_of(problem: "Problem", checked: Checked | None) -> list[str]:
    """Return every problem of a problem's numbers; what is checked is not looked at again."""
    found = tables(problem)
    if found or (checked is not None and checked.holds(problem)):
        return found
    return blocks(problem)

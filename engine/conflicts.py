"""What is told of limits that no allocation can keep together: each with how far it must move.

The two sides of an equation are told as one limit.
"""

from dataclasses import dataclass
from math import ceil, floor, isnan, nan

from engine.forms import AnyProblem, ratio_of
from engine.problem import Row

UNKNOWN = nan  # a relaxation that the time did not allow to find


@dataclass(frozen=True)
class Conflict:
    """One limit of a set that no allocation can keep together."""

    set_number: int  # from 1: no two sets share a limit, so one of each must give way
    is_minimal: bool  # whether every limit of the set is known to have a part in the conflict
    constraint: str
    limit: float  # units of the measure
    smallest_relaxation: float | None  # how far it alone must move; None: not enough, or unknown
    text: str


@dataclass(frozen=True, eq=False)
class Move:
    """How far one limit of a set must move."""

    problem: AnyProblem
    k: int
    limit: float
    relaxation: float | None  # None: moving it alone is not enough; NaN: not known

    @property
    def row(self) -> Row:
        return self.problem.rows[self.k]

    @property
    def amount(self) -> float | None:
        """Return the amount as it is told: whole contacts, never below 0."""
        if self.relaxation is None or isnan(self.relaxation):
            return None
        amount = self.relaxation
        is_sum = ratio_of(self.problem, self.k) is None
        if is_sum and self.row.measure == "contacts":  # whole ones count
            if self.row.is_minimum:
                amount = self.limit - floor(self.limit - amount + 1e-6)
            else:
                amount = ceil(self.limit + amount - 1e-6) - self.limit
        return max(amount, 0.0)

    def text(self) -> str:
        """Return in words how far it must move."""
        if self.relaxation is None:
            return "changing it alone is not enough"
        if self.amount is None:
            return "by how much it would have to change was not found in the time limit"
        lowered = self.row.is_minimum
        target = self.limit - self.amount if lowered else self.limit + self.amount
        verb = "lower it" if lowered else "raise it"
        return f"{verb} by at least {self.amount:,.10g}, to {target:,.10g}"

    def head(self) -> str:
        """Return the limit's name and what it asks for."""
        units = self.problem.units(self.k)
        if ratio_of(self.problem, self.k) is not None:
            side = "at least" if self.row.is_minimum else "at most"
            kind = f"a ratio of {side} {self.limit:,.10g}"
        elif self.row.twin is not None:
            kind = f"equal to {self.limit:,.10g} {units}"
        else:
            kind = (
                f"{'a minimum' if self.row.is_minimum else 'a limit'} of {self.limit:,.10g} {units}"
            )
        return f"{self.row.twin or self.row.name} ({kind})"


def conflicts_of(number: int, moves: list[Move], *, is_minimal: bool) -> list[Conflict]:
    """Return what is told of the limits of a set.

    Args:
        number: of the set.
        moves: of its limits.
        is_minimal: whether every one is known to have a part in the conflict.
    """
    found: dict[str, list[Move]] = {}
    for move in moves:
        found.setdefault(move.row.twin or move.row.name, []).append(move)
    return [_conflict(number, name, sides, is_minimal=is_minimal) for name, sides in found.items()]


def _conflict(number: int, name: str, sides: list[Move], *, is_minimal: bool) -> Conflict:
    least = min((m.amount for m in sides if m.amount is not None), default=None)
    text = f"{sides[0].head()}: {' or '.join(dict.fromkeys(move.text() for move in sides))}"
    return Conflict(number, is_minimal, name, sides[0].limit, least, text)

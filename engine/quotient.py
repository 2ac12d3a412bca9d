"""A ratio of sums as a linear form in whole numbers."""

from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Quotient:
    """What a ratio's row is made of: ``scale (of - limit to) <= 0``, or negated for a minimum.

    S subscribers are in G scope groups, A actions.
    """

    of: Any  # [2, A] int64, micro-units per contact and per acceptance, zero out of scope
    to: Any  # [2, A] int64, the same of what it is divided by
    of_scope: Any  # [G] bool
    to_scope: Any  # [G] bool
    limit: Fraction  # a whole number of 0.000001

    def scale(self, limit: Fraction) -> int:
        """Return the least whole number that makes the form whole at a limit."""
        products = (limit * int(c) for c in self.to.ravel())
        return lcm(*(product.denominator for product in products))

    def terms(self, limit: Fraction, *, is_minimum: bool) -> tuple[Any, Any, Any]:
        """Return the form as terms: one where both sums count the same subscribers, else two.

        Args:
            limit: the ratio to compare with.
            is_minimum: whether the form is negated.

        Returns:
            [T, A] int64 per contact, [T, A] int64 per acceptance, [T, G] bool in scope.

        Raises:
            OverflowError: a coefficient is beyond 64 bits.
        """
        sign = (-1 if is_minimum else 1) * self.scale(limit)
        of, to = (
            [[int(factor * int(c)) for c in part] for part in parts]
            for factor, parts in ((sign, self.of), (-sign * limit, self.to))
        )
        if (self.of_scope == self.to_scope).all():
            pairs = (zip(*parts, strict=True) for parts in zip(of, to, strict=True))
            both = [[x + y for x, y in pair] for pair in pairs]
            terms, scope = np.array([both], np.int64), self.of_scope[None]
        else:
            terms, scope = np.array([of, to], np.int64), np.stack([self.of_scope, self.to_scope])
        return terms[:, 0], terms[:, 1], scope

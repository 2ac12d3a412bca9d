"""One subscriber's rules as rows of a whole-number model: X_s of :mod:`engine.problem`.

A variable x per open pair; helpers are further variables:

    sum x <= most;  sum x of an offer <= 1;  x_a + x_b <= 1 for two that exclude one another
    x_b <= sum of x over the offers one of which b requires
    sum x <= cap;  where a cap counts contacts, z of a contact stands for its pairs: x <= z
    fewest y <= sum x <= most y for a minimum, y = 1 for those who must have a bundle

Of the members of a household together: caps as above, over all their pairs, and of offers that
exclude one another u of each stands for its pairs: x <= u, sum u <= 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.problem import Problem
from engine.rules import has_bundle
from kernels.choose import MUST

Choices = list[tuple[list[int], int]]
Uses = list[tuple[list[int], list[int], int]]


class BundleRows:
    """Collects the rows; helpers are numbered behind the pairs once those are counted."""

    def __init__(self, problem: Problem) -> None:
        """Hold what is the same for all subscribers."""
        self.problem, self.rules, self.offer = problem, problem.rules, problem.offer
        self.helpers = 0
        self.choices: Choices = []
        self.uses: Uses = []
        self.households: dict[int, list[tuple[Any, dict[int, int], dict[int, int]]]] = {}

    def rows(self, pairs: int) -> tuple[Choices, Uses]:
        """Return all rows; a helper h, collected as -1 - h, is variable ``pairs + h``."""

        def numbered(indices: list[int]) -> list[int]:
            return [i if i >= 0 else pairs - 1 - i for i in indices]

        choices = [(numbered(indices), most) for indices, most in self.choices]
        uses = [(numbered(indices), amounts, limit) for indices, amounts, limit in self.uses]
        return choices, uses

    def add(self, block: dict[str, Any], row: int, actions: list[int], first: int) -> None:
        """Add a subscriber's rows.

        Args:
            block: the arrays of its block, on the host.
            row: its row there.
            actions: its open actions.
            first: variable of the first of them; the others follow.
        """
        if not actions:
            return
        most, fewest = int(block["most"][row]), int(block["fewest"][row])
        variable = {a: first + i for i, a in enumerate(actions)}
        everything = list(variable.values())
        self._at_most(everything, most)
        of_offer: dict[int, list[int]] = {}
        for a in actions:
            of_offer.setdefault(int(self.offer[a]), []).append(variable[a])
        for members in of_offer.values():
            self._at_most(members, 1)
        for one, other in self.rules.exclusive:
            if one in of_offer and other in of_offer:
                self._at_most(of_offer[one] + of_offer[other], 1)
        for offers in self.rules.exclusive_over_households:
            self._at_most([x for o in offers for x in of_offer.get(o, [])], 1)
        for one, others in self.rules.requires:
            met = [x for o in others for x in of_offer.get(o, [])]
            for x in of_offer.get(one, []):
                self.uses.append(([x, *met], [1, *[-1] * len(met)], 0))
        stand_ins = self._caps(block["cap"][:, row], variable)
        self._minimum(most, fewest, everything)
        if len(block["household"]) and block["household"][0, row] >= 0:
            own = self.households.setdefault(int(block["household"][0, row]), [])
            own.append((block["room"][:, row], variable, stand_ins))

    def add_households(self) -> None:
        """Add the rows of the households of all who were added."""
        joint = self.rules.households
        if joint is None:
            return
        for own in self.households.values():
            for e, members in enumerate(joint.members):
                counted: list[int] = []
                for _, variable, stand_ins in own:
                    inside = [a for a in variable if members[a]]
                    if joint.per_contact[e]:
                        counted += dict.fromkeys(stand_ins[a] for a in inside)
                    else:
                        counted += [variable[a] for a in inside]
                self._at_most(counted, int(own[0][0][e]))
            for offers in joint.exclusive:
                self._one_of(offers, [variable for _, variable, _ in own])

    def _one_of(self, offers: Sequence[int], own: list[dict[int, int]]) -> None:
        """Add that members have at most one of some offers."""
        used = []
        for offer in offers:
            pairs = [x for variable in own for a, x in variable.items() if self.offer[a] == offer]
            if pairs:
                used.append(self._helper())
                self.uses += [([x, used[-1]], [1, -1], 0) for x in pairs]
        self._at_most(used, 1)

    def _helper(self) -> int:
        self.helpers += 1
        return -self.helpers

    def _at_most(self, members: list[int], most: int) -> None:
        if len(members) > most:
            self.choices.append((members, most))

    def _caps(self, cap: Any, variable: dict[int, int]) -> dict[int, int]:
        """Add the caps; return what stands for the contact of each action.

        Pairs of one contact share a helper where contacts are counted.
        """
        joint = self.rules.households
        is_counted = bool(self.rules.per_contact.any())
        is_counted |= joint is not None and bool(joint.per_contact.any())
        together: dict[int, list[int]] = {}
        for a in variable:
            together.setdefault(int(self.rules.contact[a]), []).append(a)
        stand_ins = dict(variable)
        for own in together.values():
            if len(own) > 1 and is_counted:
                helper = self._helper()
                for a in own:
                    self.uses.append(([variable[a], helper], [1, -1], 0))
                    stand_ins[a] = helper
        for d, members in enumerate(self.rules.members):
            counted = [a for a in variable if members[a]]
            if self.rules.per_contact[d]:
                self._at_most(list(dict.fromkeys(stand_ins[a] for a in counted)), int(cap[d]))
            else:
                self._at_most([variable[a] for a in counted], int(cap[d]))
        return stand_ins

    def _minimum(self, most: int, fewest: int, everything: list[int]) -> None:
        least = fewest % MUST
        if fewest >= MUST:
            self.uses.append((everything, [-1] * len(everything), -max(1, least)))
        elif least > 1:
            active = self._helper()
            self.uses.append(([*everything, active], [*[1] * len(everything), -most], 0))
            self.uses.append(([*everything, active], [*[-1] * len(everything), least], 0))


def without_exempt(problem: Problem, block: dict[str, Any]) -> dict[str, Any]:
    """Return a block, on the host, in which only those must have a bundle who can have one."""
    must = np.flatnonzero(block["fewest"] >= MUST)
    if not len(must):
        return block
    part = {n: np.ascontiguousarray(a[..., must]) for n, a in block.items()}
    can = has_bundle(
        problem.rules, problem.offer, ~np.isnan(part["propensity"]),
        (part["most"], part["fewest"], part["cap"]), np,
    )  # fmt: skip
    fewest = block["fewest"].copy()
    fewest[must[~can]] %= MUST
    return block | {"fewest": fewest}

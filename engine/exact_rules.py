"""One subscriber's rules as rows of a whole-number model: X_s of :mod:`engine.problem`.

A variable x per open pair; helpers are further variables:

    sum x <= most;  sum x of an offer <= 1;  x_a + x_b <= 1 for two that exclude one another
    x_b <= sum of x over the offers one of which b requires
    sum x <= cap;  where a cap counts contacts, z of a contact stands for its pairs: x <= z
    fewest y <= sum x <= most y for a minimum, y = 1 for those who must have a bundle
"""

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
        for one, others in self.rules.requires:
            met = [x for o in others for x in of_offer.get(o, [])]
            for x in of_offer.get(one, []):
                self.uses.append(([x, *met], [1, *[-1] * len(met)], 0))
        self._caps(block["cap"][:, row], variable)
        self._minimum(most, fewest, everything)

    def _helper(self) -> int:
        self.helpers += 1
        return -self.helpers

    def _at_most(self, members: list[int], most: int) -> None:
        if len(members) > most:
            self.choices.append((members, most))

    def _caps(self, cap: Any, variable: dict[int, int]) -> None:
        """Add the caps; pairs of one contact share a helper where contacts are counted."""
        together: dict[int, list[int]] = {}
        for a in variable:
            together.setdefault(int(self.rules.contact[a]), []).append(a)
        helper: dict[int, int] = {}
        for d, members in enumerate(self.rules.members):
            counted = [a for a in variable if members[a]]
            if not self.rules.per_contact[d]:
                self._at_most([variable[a] for a in counted], int(cap[d]))
                continue
            contacts = dict.fromkeys(int(self.rules.contact[a]) for a in counted)
            stand_ins = []
            for contact in contacts:
                if len(together[contact]) == 1:
                    stand_ins.append(variable[together[contact][0]])
                    continue
                if contact not in helper:
                    helper[contact] = self._helper()
                    for a in together[contact]:
                        self.uses.append(([variable[a], helper[contact]], [1, -1], 0))
                stand_ins.append(helper[contact])
            self._at_most(stand_ins, int(cap[d]))

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

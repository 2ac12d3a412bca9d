"""What policies let a partition's subscribers, and households, have together: for the certificate.

Letters as in DESIGN.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.certificate_history import Past
from engine.certificate_policies import Least, Relations, Room
from engine.certificate_rules import Terms
from engine.certificate_windows import UNBOUNDED


@dataclass(frozen=True)
class Freedom:
    """What a partition's subscribers may have together. [S, ...] arrays are C-contiguous.

    D caps, N days, P pairs, A actions, R needs, G time zones that differ, X exclusions over
    households.
    """

    past: Past
    rooms: tuple[tuple[Room, ...], ...]  # [D] the caps; of several on the same pairs the tightest
    least: Any  # [S] int64, 0 or 1: no minimum
    must: Any  # [S] bool
    counted: Any  # [D, P] bool
    by_contact: Any  # [D] bool
    contact: Any  # [P] int64
    offer: Any  # [P] int64
    group: Any  # [S] int64, in [0, G)
    conflict: Any  # [G, A, A] bool
    needy: Any  # [R, P] bool
    met_by: Any  # [R, P] bool
    is_whole: Any  # [D] bool, caps of actions that count all pairs
    is_joint: Any  # [D] bool, caps over households
    exclusive: Any  # [X, P] bool, the pairs of offers of which a household has one

    @property
    def joins(self) -> bool:
        """Return whether it says what the members of a household have together."""
        return bool(self.is_joint.any()) or len(self.exclusive) > 0

    def arrays(self, rows: Any) -> tuple[Any, ...]:
        """Return the arrays of some of the subscribers."""
        days = self.past.days
        left = np.full((len(self.least[rows]), len(self.rooms), days, days), UNBOUNDED, np.uint8)
        for d, own in enumerate(self.rooms):
            for room in own:
                found = self.past.left(room.span, rows).reshape(-1, days, days)
                np.minimum(left[:, d], found, out=left[:, d])
        return (left, self.least[rows], self.must[rows], self.group[rows], self.counted,
                self.by_contact, self.contact, self.offer, self.conflict, self.needy,
                self.met_by, self.is_whole)  # fmt: skip


def freedom(
    terms: Terms,
    found: Sequence[Room],
    asked: Sequence[Least],
    related: Relations,
    past: Past,
) -> Freedom | None:
    """Return what there is beside caps in all, per channel and per category; None: nothing.

    Of several days there always is, and of caps and exclusions over households.
    """
    together = len(np.unique(related.contact)) < len(related.contact)
    caps = tuple(room for room in found if room.policy)
    if past.days == 1 and not (
        asked or together or related.apart or related.requires
        or any(room.per in {"team", "offers"} or room.span.is_joint for room in caps)
    ):  # fmt: skip
        return None
    least, must = np.zeros(past.size, np.int64), np.zeros(past.size, bool)
    for one in asked:
        least, must = np.maximum(least, one.wanted), must | one.must
    alike: dict[tuple[bytes, bool, bool], list[Room]] = {}
    for room in caps:
        counts_contacts = room.by_contact and together
        key = room.counted.tobytes(), counts_contacts, room.span.is_joint
        alike.setdefault(key, []).append(room)
    counted = np.array([own[0].counted for own in alike.values()], bool)
    counted = counted.reshape(len(alike), len(terms.offer))
    by_contact = np.array([is_so for _, is_so, _ in alike], bool)
    later = past.instants - past.instants[:, :1]
    kinds, group = np.unique(later, axis=0, return_inverse=True)
    exclusive = [np.isin(terms.offer, one.offers) for one in related.apart if one.is_joint]
    return Freedom(
        past, tuple(map(tuple, alike.values())), least, must, counted, by_contact,
        related.contact, terms.offer, group.reshape(-1)[past.zone],
        np.array([related.conflict(terms.offer, own) for own in kinds]),
        *related.needs(terms.offer),
        counted.all(axis=1) & ~by_contact,
        np.array([is_so for _, _, is_so in alike], bool),
        np.array(exclusive, bool).reshape(len(exclusive), len(terms.offer)),
    )  # fmt: skip

"""Why an action of a subscriber is not open, or not in its bundle, in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine import policies, tables
from engine.actions import actions_of
from engine.candidates import eligible
from engine.history import History
from engine.plan_rules import rules
from engine.rules import Rules
from engine.settings import Job
from engine.settings.policies import ContactPolicy
from kernels.backend import to_cpu


def closed(job: Job, features: Any, history: History) -> list[list[str]]:
    """Return, for each row and action, why the pair is not open; empty where it is open.

    Args:
        job: the job.
        features: rows of the profile, one a subscriber; of a household all members.
        history: their contact history.
    """
    acts = actions_of(job)
    side = tables.array_library(features)
    held = tables.unit_hash(features["subscriber"], job.seed) < job.holdout_share
    allowed = eligible(job, features, acts, side)
    left = policies.left(job, features, history)
    free = allowed & ~held & ~left.blocked(len(acts))
    policies.forbid_the_stuck(job, left, lambda rows: free[:, rows], side)
    held, allowed = to_cpu(held), to_cpu(allowed)
    forbids = {name: to_cpu(left.forbids(name, len(acts))) for name in left.closed}
    out = []
    for row in range(len(features)):
        told = []
        for a in range(len(acts)):
            names = [name for name, forbidden in forbids.items() if forbidden[a, row]]
            parts = ["held out"] if held[row] else []
            if not allowed[a, row]:
                parts.append("not valid, not eligible, or no consent or device for the channel")
            if names:
                parts.append(f"policy {', '.join(names)}")
            told.append("; ".join(parts))
        out.append(told)
    return out


def beside(
    job: Job, frames: tuple[Any, History], bundle: Sequence[int],
    others: Sequence[Sequence[int]] = (),
) -> list[str]:  # fmt: skip
    """Return, for each action, which policies do not allow it beside a bundle; empty: it fits.

    Each policy is asked by itself, packages with each, for they say what is one contact.

    Args:
        job: the job.
        frames: the subscriber's row of the profile, then those of the other members of its
            household, and their contact history.
        bundle: the actions that the subscriber has.
        others: the actions of each other member.
    """
    acts, names = actions_of(job), list(job.catalogue.offers)
    offer = np.array([names.index(action.offer) for action in acts], np.int32)
    alone = [(policy.name, _rules_of(job, policy, *frames)) for policy in job.policies]
    told = []
    for a, action in enumerate(acts):
        rest = [b for b in bundle if b != a]
        same = [acts[b].channel for b in rest if acts[b].offer == action.offer]
        if same:
            where = "day" if action.channel in same else "channel"
            told.append(f"its offer goes out on another {where}")
            continue
        against = [
            name for name, (rules, room, *sizes) in alone
            if not rules.allows([*rest, a], offer, *sizes)
            or not _go_together(rules, [[*rest, a], *others], offer, room)
        ]  # fmt: skip
        told.append(f"beside that bundle not by policy {', '.join(against)}" if against else "")
    return told


def _go_together(own: Rules, bundles: Sequence[Sequence[int]], offer: Any, room: Any) -> bool:
    """Return whether bundles of a household's members go together."""
    if own.households is None:
        return True
    taken = [a for bundle in bundles for a in bundle]
    conflict = own.households.conflict(offer)[np.ix_(taken, taken)]
    return bool((own.households.used(bundles, own.contact) <= room).all() and not conflict.any())


def _rules_of(
    job: Job, policy: ContactPolicy, features: Any, history: History
) -> tuple[Rules, Any, int, int, Any]:
    """Return the rules of one policy, and what it leaves: room, most, fewest and caps."""
    packages = [other for other in job.policies if other.package and other is not policy]
    only = job.model_copy(update={"policies": [policy, *packages]})
    left = policies.left(only, features, history)
    sizes = (to_cpu(x)[..., 0] for x in (left.room, left.most, left.fewest, left.cap))
    room, most, fewest, cap = sizes
    return rules(only), room, int(most), int(fewest), cap

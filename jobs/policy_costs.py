"""What contact policies cost, and how often subscribers are contacted: asked of every partition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import contact_counts, expressions, policy_prices, policy_sets
from engine.actions import actions_of
from engine.assemble import Placed
from engine.block import Block
from engine.contact_counts import Contacts
from engine.offer_oracle import OfferOracle
from engine.parts import Dealt, parts_of
from engine.policy_market import Market, Partition
from engine.policy_prices import Cost
from engine.policy_relaxed import GRID
from engine.policy_sets import Sets
from engine.settings import Job
from engine.solve import Allocation, Status
from jobs.certify import Part, frames_of
from kernels.backend import to_cpu


@dataclass(frozen=True)
class Told:
    """What one partition tells."""

    costs: list[Cost]
    sets: Sets
    contacts: Contacts


@dataclass(frozen=True, eq=False)
class Costs:
    """What policies cost all subscribers."""

    policies: list[dict[str, Any]]  # for the summary
    contacts: dict[str, Any]  # for the summary
    blocked: Any  # DataFrame: which policies together forbid what


def costs(job: Job, placed: Placed, found: Allocation, parts: Sequence[Part]) -> Costs:
    """Ask every partition, where its block is.

    Args:
        job: the job.
        placed: the problem that was solved.
        found: its answer.
        parts: the partitions' files.
    """
    market = None
    if found.status != Status.INFEASIBLE:
        oracle = OfferOracle(placed.problem.with_blocks([]), [])
        market = Market(oracle.value, *oracle.price_tables(found.prices))
    dealt = Dealt(list(zip(parts, found.chosen, strict=True)))
    told = parts_of(placed.problem.blocks).map(_told, parts_of(placed.order), dealt, market)
    sets, acts = policy_sets.merged(own.sets for own in told), actions_of(job)
    added = policy_prices.added([own.costs for own in told])
    return Costs(
        list(policy_prices.shown(job, added, has_prices=market is not None)),
        contact_counts.shown(contact_counts.merged([own.contacts for own in told])),
        policy_sets.table(sets, acts, None if market is None else GRID),
    )


def _told(block: Block, order: Any, dealt: tuple[Part, Any], market: Market | None) -> Told:
    part, chosen = dealt
    own, frames = to_cpu(order), frames_of(part, "pandas", _columns(part.job))
    group, weight, bundles = (np.empty((*x.shape[:-1], len(own)), x.dtype) for x in
                              (block.group, block.weight, chosen))  # fmt: skip
    for rows, values in ((group, block.group), (weight, block.weight), (bundles, chosen)):
        rows[..., own] = to_cpu(values)
    partition = Partition.of(part.job, frames, group, weight)
    costs, sets = policy_prices.costs(partition, market)
    return Told(costs, sets, contact_counts.contacts(partition.past, frames[2], bundles))


def _columns(job: Job) -> list[str]:
    """Return the columns of the features that tell what is open to a subscriber."""
    offers, channels = job.catalogue.offers.values(), job.catalogue.channels.values()
    conditions = [sql for offer in offers for sql in (offer.eligible, offer.until)]
    conditions += [policy.suppress for policy in job.policies]
    found = {c for sql in conditions if sql for c in expressions.parse(sql, "job").columns}
    table = job.inputs.subscribers
    home = table.household if any(p.over == "household" for p in job.policies) else None
    found |= {c for c in (home, table.time_zone, *(x.device for x in channels)) if c is not None}
    consents = {channel.consent_for(o.purpose) for channel in channels for o in offers}
    return ["subscriber", *sorted((found | {c for c in consents if c}) - {"subscriber"})]

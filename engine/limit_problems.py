"""What is wrong with a job's limits and actions as a whole."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from engine.actions import actions_of
from engine.levels import KEPT
from engine.limits import FATIGUE, MICRO, MOST_USE, Limit, coefficients, limits, measured, micro
from engine.plan_rules import capped, capped_together
from engine.policy_relaxed import relaxed
from engine.settings import Job
from engine.spans import holds_plan
from kernels.choose import MOST_ACTIONS, MOST_BUNDLE, MOST_CAPS, MOST_CODES


def problems(job: Job) -> list[str]:
    """Return every problem of a job's limits, goals and actions, each naming its setting.

    Names are those of :func:`limits`; the settings alone show only those of constraints.
    """
    found = [*_names(job), *_goals(job)]
    for limit in limits(job):
        if not limit.costs:
            found += [f"constraints.{limit.name}: {text}" for text in _forms(job, limit)]
    found += fatigue_problems(job)
    found += _needs(job)
    caps = _most_caps(job)
    if caps > MOST_CAPS:
        found.append(
            f"policies: have {caps} caps on different channels, categories and groups of offers, "
            f"and on different days; at most {MOST_CAPS} are allowed; name those that matter under "
            "only, or plan fewer days"
        )
    count = len(actions_of(job))
    if count > MOST_ACTIONS and any(policy.is_joint for policy in job.policies):
        found.append(
            f"catalogue: has {count} actions (an offer on a channel); at most {MOST_ACTIONS} are "
            "allowed with caps and exclusions over households"
        )
    elif count > MOST_CODES or (count > MOST_ACTIONS and _most_contacts(job) > 1):
        found.append(
            f"catalogue: has {count} actions (an offer on a channel, on a day); at most "
            f"{MOST_ACTIONS} are allowed, or {MOST_CODES} with a policy that leaves a subscriber "
            "one contact (at_most: 1)"
        )
    return found


def _most_caps(job: Job) -> int:
    """Return the most caps that a job has, or would have if one of its policies were relaxed.

    Caps over households are a member's too, when it is looked at by itself.
    """
    counts = [len(capped(job)) + len(capped_together(job))]
    if job.horizon.days > 1:
        for i, policy in enumerate(job.policies):
            other = relaxed(policy)
            if other is not None:
                policies = [*job.policies[:i], other, *job.policies[i + 1 :]]
                counts.append(len(capped(job.model_copy(update={"policies": policies}))))
    return max(counts)


def _names(job: Job) -> list[str]:
    every = [limit.name for limit in limits(job)] + [other.name for other in measured(job)]
    stated = any(limit.costs for limit in limits(job))
    estimated = any(state.estimate is not None for state in job.fatigue)
    names = Counter([*every, *([FATIGUE] if estimated and not stated else [])])
    return [
        f"constraints: {times} limits are called {name}: capacities, quotas, minimums, the "
        "at_least of a constraint with both bounds and fatigue have names of their own "
        "(capacity:sms, quota:data, minimum:data, budget:minimum, fatigue); give the constraint "
        "another name"
        for name, times in names.items()
        if times > 1
    ] + [
        f"constraints.{name}: names that begin with kept: are those of levels that goals have "
        "reached; give the constraint another name"
        for name in names
        if name.startswith(KEPT)
    ]


def fatigue_problems(job: Job) -> Iterator[str]:
    """Yield where contacts may cost too much in annoyance for whole numbers."""
    for channel in job.catalogue.channels:
        most = sum(micro(max(state.of_channel(channel), default=0.0)) for state in job.fatigue)
        if most > MOST_USE:
            yield (
                f"fatigue: a contact by {channel} may cost {most / MICRO:,.0f} in all; at most "
                f"{MOST_USE / MICRO:,.0f} are exact; take money in another unit"
            )


def _goals(job: Job) -> list[str]:
    """Return what is wrong with the limits that goals meet."""
    known = {limit.name: limit for limit in limits(job)}
    met = Counter(name for goal in job.goals for name in goal.meet)
    found = [
        f"goals.{goal.name}: the name stands for a stage of its own; give the goal another name"
        for goal in job.goals
        if goal.name == "objective"
    ]
    for goal in job.goals:
        for name in goal.meet:
            place = f"goals.{goal.name}.meet.{name}"
            if name not in known:
                found.append(f"{place}: unknown limit; there are {', '.join(known) or 'none'}")
            elif known[name].to is not None:
                found.append(f"{place}: is a ratio; goals meet limits of a sum")
            elif known[name].penalty is not None:
                found.append(f"{place}: has a penalty too; leave one of them out")
            if met[name] > 1:
                found.append(f"{place}: is met by {met[name]} goals; leave it in one")
    return list(dict.fromkeys(found))


def _needs(job: Job) -> Iterator[str]:
    """Yield the policies that ask for more offers than the others ever leave."""
    most = _most_contacts(job)
    for policy in job.policies:
        kind = "exactly" if policy.exactly is not None else "at_least"
        need = policy.exactly or policy.at_least or 0
        if need > most and policy.within is None:
            yield (
                f"policies.{policy.name}: {kind} {need} is more than the policies and offers ever "
                f"leave a subscriber, {most}, so nobody would get anything; lower it, or raise the "
                "caps"
            )


def _forms(job: Job, limit: Limit) -> Iterator[str]:
    """Yield what makes a limit impossible by itself, or too large for whole numbers."""
    of = coefficients(job, limit.measure)
    used = [of[a] for a in limit.actions]
    if limit.to is not None:
        to = coefficients(job, limit.to.measure)
        if any(
            fixed < 0 or fixed + accept < 0
            for fixed, accept in map(to.__getitem__, limit.to.actions)
        ):
            yield (
                f"ratio.to: {limit.to.measure} may be negative for some action in scope; a ratio "
                "is by a sum that is not"
            )
    elif (
        limit.is_minimum
        and limit.amount > 0
        and not any(fixed > 0 or fixed + accept > 0 for fixed, accept in used)
    ):
        yield (
            f"at_least {limit.amount / MICRO:,.10g} cannot be reached: no action in scope adds to "
            f"{limit.measure}; lower it, or widen its scope"
        )
    largest = max((_size(job, limit, a) for a in range(len(of))), default=0)
    if largest > MOST_USE:
        yield (
            f"out of range: a contact may add {largest / MICRO:,.0f} units of its form (scaled by "
            f"{limit.scale}); at most {MOST_USE / MICRO:,.0f} are exact; give the ratio fewer "
            "decimals, or money another unit"
        )


def _size(job: Job, limit: Limit, action: int) -> int:
    """Return a bound of what a contact adds to a limit's form, micro-units."""
    size = Fraction(0)
    for part, factor in ((limit.of, MICRO), (limit.to, limit.ratio)):
        if part is not None and action in part.actions:
            size += sum(map(abs, coefficients(job, part.measure)[action])) * Fraction(factor, MICRO)
    return int(size * limit.scale)


def _most_contacts(job: Job) -> int:
    """Return how many contacts the policies leave a subscriber without a contact history."""

    whole = [p.name for p in job.policies if p.at_most is not None and holds_plan(p, job)]
    is_packed = any(policy.package for policy in job.policies)  # a contact may be several offers

    def cap(per: str, name: str) -> int:
        found = [MOST_BUNDLE]
        for policy in job.policies:
            if policy.exactly is not None:
                found += [policy.exactly] if per == "all" else []
            elif (
                policy.at_most is not None
                and policy.name in whole
                and not (is_packed and per != "category")
            ):
                is_meant = policy.per == per and (not policy.only or name in policy.only)
                found += [policy.at_most] if is_meant else []
        return min(found)

    offers, channels = job.catalogue.offers, job.catalogue.channels
    categories = {offer.category for offer in offers.values()}
    by_channel = sum(cap("channel", name) for name in channels)
    by_category = sum(cap("category", name) for name in categories)
    return min(cap("all", ""), len(offers), by_channel, by_category)

"""What is wrong with a job's limits and actions as a whole."""

from collections import Counter

from engine.actions import actions
from engine.limits import limits
from engine.policies import capped
from engine.settings import Job
from kernels.choose import MOST_ACTIONS, MOST_BUNDLE, MOST_CAPS, MOST_CODES


def problems(job: Job) -> list[str]:
    """Return every problem of a job's limits: their names, and the number of actions.

    Names are those of :func:`limits`; the settings alone show only those of constraints.
    """
    names = Counter(limit.name for limit in limits(job))
    found = [
        f"constraints: {times} limits are called {name}: capacities, quotas, minimums and the "
        "at_least of a constraint with both bounds have names of their own (capacity:sms, "
        "quota:data, minimum:data, budget:minimum); give the constraint another name"
        for name, times in names.items()
        if times > 1
    ]
    caps = len(capped(job))
    if caps > MOST_CAPS:
        found.append(
            f"policies: have {caps} caps on different channels, categories and groups of offers; "
            f"at most {MOST_CAPS} are allowed; name those that matter under only"
        )
    count = len(actions(job.catalogue))
    if count > MOST_CODES or (count > MOST_ACTIONS and _most_contacts(job) > 1):
        found.append(
            f"catalogue: has {count} actions (an offer on a channel); at most {MOST_ACTIONS} are "
            f"allowed, or {MOST_CODES} with a policy that leaves a subscriber one contact "
            "(at_most: 1)"
        )
    return found


def _most_contacts(job: Job) -> int:
    """Return how many contacts the policies leave a subscriber without a contact history."""

    is_packed = any(policy.package for policy in job.policies)  # a contact may be several offers

    def cap(per: str, name: str) -> int:
        found = [MOST_BUNDLE]
        for policy in job.policies:
            if policy.exactly is not None:
                found += [policy.exactly] if per == "all" else []
            elif policy.at_most is not None and not (is_packed and per != "category"):
                is_meant = policy.per == per and (not policy.only or name in policy.only)
                found += [policy.at_most] if is_meant else []
        return min(found)

    offers, channels = job.catalogue.offers, job.catalogue.channels
    categories = {offer.category for offer in offers.values()}
    by_channel = sum(cap("channel", name) for name in channels)
    by_category = sum(cap("category", name) for name in categories)
    return min(cap("all", ""), len(offers), by_channel, by_category)

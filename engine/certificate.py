"""The certificate: value, bound, limits and contact policies, recomputed from what was written.

Shares no code with the solver: it reads the written allocation and the prices and knows of the job
only its settings, its actions and its limits. Values and uses are exact whole numbers, so a limit
holds or does not; the bound is never too low (see :mod:`engine.certificate_bound`).

    gap = (bound - value) / max(1, |bound|)

Value and bound are of what is pursued, net of fatigue and of what passing soft limits costs. Where
the least is pursued they keep their sign: then the bound is from below, and the gap is (value -
bound) / ...
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from heapq import nsmallest
from math import inf, nextafter
from typing import Any

import numpy as np
import pandas as pd

from engine import certificate_bound as upper
from engine import certificate_policies as policies
from engine import certificate_rules as rules
from engine.actions import actions
from engine.certificate_bundles import exempt
from engine.certificate_closures import closures as closed_by_policies
from engine.certificate_contacts import Contacts, Violation, misdated, violations
from engine.certificate_freedom import freedom
from engine.certificate_history import Past
from engine.certificate_limits import Form, state
from engine.certificate_rules import BUNDLE
from engine.certificate_together import broken_relations, passed
from engine.errors import DataError
from engine.history import History
from engine.limits import MICRO, Aim, Limit, Question, question
from engine.settings import Job

SHOWN = 20
"""Violations that are told one by one; the others are counted."""
CLAIM_TOLERANCE = 1e-9
"""``|claimed - found| <= 1e-9 max(1, |found|)``; for the bound ``+ allowance`` on the right."""
HIGHEST_PRICE = 1e100
OF_CONTACTS = ("unknown", "hold_out", "closed", "duplicate", "policy")


@dataclass(frozen=True)
class Check:
    """Exact sums of one partition, and what is wrong in it."""

    subscribers: int
    contacts: int
    value: int  # of what is maximised, units of 2**-34 micro-units
    worth: int  # expected money, weighted, units of 2**-34 micro-money
    uses: tuple[int, ...]  # [J] sums (Terms.sums), 2**-24 micro-units, of weighted ones 2**-34
    surplus: int  # sum of the highest surpluses, 2**-e micro-money (certificate_bound.grid)
    choices: int  # most actions that the partition's subscribers may get, all together
    exempt: int  # those outside the hold-out who can't get what a policy asks exactly of them
    prices: tuple[float, ...]  # [K]
    counts: Mapping[str, int]  # violations by kind
    violations: tuple[Violation, ...]  # the first 20 by subscriber, kind, text


def check_partition(
    job: Job,
    features: pd.DataFrame,
    propensity: pd.DataFrame,
    *,
    history: History,
    allocations: pd.DataFrame,
    prices: Sequence[float],
    asked: Question | None = None,
) -> Check:
    """Recompute one partition's part of the certificate.

    Args:
        job: the job.
        features: its subscribers with their columns and features.
        propensity: ``subscriber``, as in ``features``, and a column per offer and channel.
        history: its contacts and outcomes.
        allocations: what was written for its subscribers.
        prices: [K] money per unit of each limit's form, in the order of the question's limits.
        asked: what was to be answered; None: the job's objective under all its limits.

    Raises:
        DataError: the partition's frames do not fit each other or the job.
        ValueError: a price is not a number in [0, 1e100], or above its limit's penalty; or their
            number is not K.
    """
    terms = rules.terms(job, asked or question(job))
    prices = _valid(prices, terms.limits)
    keys = pd.Index(features["subscriber"])
    if not keys.is_unique:
        raise DataError(f"features: subscriber {keys[keys.duplicated()][0]} is there twice")
    if not keys.equals(pd.Index(propensity["subscriber"])):
        raise DataError("propensity: its subscribers are not those of features, in their order")
    past = Past.of(job, features, history)
    at = [past.at(day) for day in range(past.days)]
    closures = [*rules.closures(job, features, at), *closed_by_policies(past, features)]
    rooms, leasts = policies.rooms(job, terms, past), policies.leasts(job, past)
    related = policies.relations(job, terms)
    held_out, weight = rules.held_out(job, features), rules.weights(job, features)
    units = rules.propensities(propensity, [pair.name for pair in actions(job.catalogue)])
    is_open = np.repeat(rules.every_day(~held_out, past.days)[:, None], len(terms.offer), axis=1)
    for closure in closures:
        for pair in closure.pairs:
            is_open[:, pair] &= ~closure.days
    menu = upper.Menu(
        weight, units, is_open, rules.in_scopes(terms, features),
        freedom(terms, rooms, leasts, related, past),
    )  # fmt: skip
    if menu.freedom is None:
        menu = replace(
            menu,
            most=policies.most(past, rooms, ("run", "all"), 1)[:, 0],
            channel_most=policies.most(past, rooms, ("channel",), len(job.catalogue.channels)),
            category_most=policies.most(past, rooms, ("category",), len(terms.categories)),
        )
    is_exempt = np.zeros(len(keys), bool)
    if menu.freedom is not None:
        is_exempt = exempt(menu.open, menu.freedom, upper.chunk_of(terms))
    written = Contacts.of(job, keys, allocations)
    names = [key if isinstance(key, int) else str(key) for key in keys.tolist()]
    found = list(violations(job, terms, written, menu, (held_out, closures)))
    found += passed(written, past, rooms, related.contact, names)
    found += misdated(written, past)
    found += broken_relations(job, terms, written, past, (leasts, related, is_exempt, names))
    value, worth, uses = _sums(terms, menu, written)
    return Check(
        subscribers=len(keys),
        contacts=len(allocations),
        value=value,
        worth=worth,
        uses=uses,
        surplus=upper.highest_surplus(terms, menu, prices),
        choices=int(menu.most.sum(dtype=np.int64)) if menu.freedom is None else BUNDLE * len(keys),
        exempt=int((is_exempt & ~held_out).sum()),
        prices=prices,
        counts=Counter(violation.kind for violation in found),
        violations=tuple(nsmallest(SHOWN, found, key=Violation.rank)),
    )


def _valid(prices: Sequence[float], limits: Sequence[Limit]) -> tuple[float, ...]:
    found = tuple(float(price) for price in prices)
    if len(found) != len(limits):
        raise ValueError(f"prices: got {len(found)}; there are {len(limits)} limits")
    for k, (price, limit) in enumerate(zip(found, limits, strict=True)):
        if not 0 <= price <= HIGHEST_PRICE:  # NaN too
            raise ValueError(f"prices.{k}: got {price}; a price is in [0, {HIGHEST_PRICE}]")
        if limit.penalty is not None and Fraction(price) > Fraction(limit.penalty, MICRO):
            raise ValueError(
                f"prices.{k}: got {price}; above the penalty of {limit.penalty / MICRO} there is "
                "no bound"
            )
    return found


def _sums(
    terms: rules.Terms, menu: upper.Menu, written: Contacts
) -> tuple[int, int, tuple[int, ...]]:
    """Return the exact value, worth and sums of the contacts whose subscriber and action exist."""
    s, a = written.subscriber[written.known], written.action[written.known]
    p, w = menu.propensity[s, a // terms.days].astype(np.int64), menu.weight[s]
    n, size = terms.value.shape[1], rules.P_ONE

    def added(use: Any, inside: Any, weight: Any) -> int:
        each = np.broadcast_to(weight, p.shape)[inside]
        counts, accepts = _by_action(a[inside], each, n), _by_action(a[inside], each * p[inside], n)
        fixed, accept = use.tolist()
        return sum(fixed[i] * counts[i] * size + accept[i] * accepts[i] for i in range(n))

    everyone = np.ones(len(p), bool)
    own = w if terms.is_weighted else np.int64(rules.W_ONE)
    uses = [
        added(part.use, menu.scope[s, part.scope], w if part.is_weighted else np.int64(1))
        for part in terms.sums
    ]
    return (
        added(terms.objective, everyone, own),
        added(terms.value, everyone, w),
        tuple(uses),
    )


def _by_action(action: Any, amounts: Any, count: int) -> list[int]:
    """Return the exact sums of whole numbers in [0, 2**44) by action.

    Halves of 22 bits sum exactly in float64, below 2**53, for up to 2**31 rows.
    """
    high = np.bincount(action, weights=amounts >> 22, minlength=count).tolist()
    low = np.bincount(action, weights=amounts & (2**22 - 1), minlength=count).tolist()
    return [int(h) * 2**22 + int(rest) for h, rest in zip(high, low, strict=True)]


def certify(
    job: Job,
    checks: Sequence[Check],
    claimed: Mapping[str, Any],
    asked: Question | None = None,
) -> dict[str, Any]:
    """Combine the partitions' checks into the certificate.

    Args:
        job: the job.
        checks: one per partition, at the same prices; their order does not matter.
        claimed: what the solver says: ``value``, ``bound`` (as in the certificate) and ``uses``
            ([K], in units of each limit's form).
        asked: as in :func:`check_partition`.

    Returns:
        The certificate. ``certified``: no violation of any kind (contacts, written numbers,
        limits, claims), whatever the gap; ``exempt``: subscribers of whom a policy asks exactly
        so many offers, but who can't get them and are not held out; ``agrees``: the claims are
        what was found;
        ``allowance``: by how much rounding may have raised the bound at most, money.
    """
    prices = checks[0].prices
    if any(check.prices != prices for check in checks):
        raise ValueError("checks: got different prices; all partitions are checked at the same")
    asked = asked or question(job)
    terms, is_least = rules.terms(job, asked), asked.aim.sign <= 0
    sums = [
        Fraction(sum(parts), rules.P_ONE * MICRO * (rules.W_ONE if part.is_weighted else 1))
        for part, parts in zip(terms.sums, zip(*(c.uses for c in checks), strict=True), strict=True)
    ]
    stated = state(job, asked.limits, sums, prices)
    unit = rules.P_ONE * rules.W_ONE * MICRO
    each = list(zip(asked.limits, (form.paid for form in stated.forms), strict=True))
    annoyance = sum((paid for limit, paid in each if limit.costs), Fraction(0))
    penalties = sum((paid for limit, paid in each if not limit.costs), Fraction(0))
    value = Fraction(sum(check.value for check in checks), unit) - penalties - annoyance
    bound, allowance = _bound(terms, checks, prices)
    sign = -1 if is_least else 1
    found_claims = (stated.forms, stated.rows, allowance)
    disagreements = list(_disagreements(claimed, sign * value, sign * bound, found_claims))
    if bound < value and not stated.broken:
        text = f"the value {float(value)} is above the bound {float(bound)}"
        disagreements.append(Violation("claim", "", text))
    counts = sum((Counter(check.counts) for check in checks), Counter())
    found = [*stated.broken, *disagreements]
    shown = nsmallest(SHOWN, (v for check in checks for v in check.violations), key=Violation.rank)
    return {
        "objective": objective_of(job, asked.aim),
        "value": sign * float(value) + 0.0,  # no -0.0
        "bound": sign * _not_below(bound) + 0.0,
        "gap": float((bound - value) / max(Fraction(1), abs(bound))),
        "allowance": _not_below(allowance),
        "expected_value": float(Fraction(sum(check.worth for check in checks), unit)),
        "penalties": float(penalties),
        **({} if stated.fatigue is None else {"fatigue": stated.fatigue}),
        "constraints": stated.rows,
        "measured": stated.measured,
        "exempt": sum(check.exempt for check in checks),
        "policy_violations": sum(counts[kind] for kind in OF_CONTACTS),
        "violation_count": sum(counts.values()) + len(found),
        "violations": [violation.row() for violation in [*found, *shown][:SHOWN]],
        "claimed": dict(claimed),
        "agrees": not disagreements,
        "certified": not found and not counts.total(),
        "checked_by": "engine.certificate, independent of the solver",
    }


def objective_of(job: Job, aim: Aim) -> dict[str, Any]:
    """Return what is pursued, in words for JSON."""
    unit = job.catalogue.currency if aim.measure in {"cost", "value"} else aim.measure
    if aim.sign == 0:
        return {"minimise": "weighted misses", "unit": "weight"}
    return {"minimise" if aim.sign < 0 else "maximise": aim.measure, "unit": unit}


def _bound(
    terms: rules.Terms, checks: Sequence[Check], prices: Sequence[float]
) -> tuple[Fraction, Fraction]:
    """Return the Lagrangian bound, and how much of it may be rounding; money."""
    surplus = sum(check.surplus for check in checks) * Fraction(2) ** -upper.grid(terms, prices)
    for k, (price, bound) in enumerate(zip(prices, terms.limits, strict=True)):
        amount, step = bound.amount * bound.scale, rules.step(terms, k)
        signed = -amount if bound.is_minimum else amount
        surplus += Fraction(price) * (signed // step * step)
    choices = sum(check.choices for check in checks)
    return surplus / MICRO, choices * upper.allowance(terms, prices) / MICRO


def _not_below(exact: Fraction) -> float:
    """Return the lowest float that is not below a number."""
    rounded = float(exact)
    return rounded if rounded >= exact else nextafter(rounded, inf)


def _disagreements(
    claimed: Mapping[str, Any],
    value: Fraction,
    bound: Fraction,
    rest: tuple[Sequence[Form], Iterable[Mapping[str, Any]], Fraction],
) -> Iterator[Violation]:
    """Yield every claim that is not what was found."""
    forms, constraints, allowance = rest
    names = [row["name"] for row in constraints]
    if len(claimed["uses"]) != len(names):
        text = f"the solver claims {len(claimed['uses'])} uses, the certificate finds {len(names)}"
        yield Violation("claim", "", text)
    found = [("value", claimed["value"], value, 0.0)]
    found += [("bound", claimed["bound"], bound, float(allowance))]
    pairs = zip(names, claimed["uses"], forms, strict=False)
    found += [(f"use of {name}", claim, form.use, 0.0) for name, claim, form in pairs]
    for what, claim, exact, more in found:
        tolerance = CLAIM_TOLERANCE * max(1.0, abs(float(exact))) + more
        if not abs(float(claim) - float(exact)) <= tolerance:  # NaN disagrees
            text = f"the solver claims {what} {claim}, the certificate finds {float(exact)}"
            yield Violation("claim", "", text)

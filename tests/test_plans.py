"""Contact policies of random plans of several days against their meaning."""

import numpy as np
from hypothesis import given, settings

from engine import policies, reasons
from engine.actions import actions, actions_of
from engine.assemble import assemble
from engine.candidates import candidates
from tests import brute_policies as brute
from tests.policy_cases import cases, parsed, profiled, scored, told
from tests.test_policies import check_reasons


def allowed_by(problem, block, s, tried):
    """Return the bundles, of those tried, that a problem allows a row of a block."""
    spread = problem.spread(block)
    open_ = ~np.isnan(spread.propensity[:, s])
    sizes = int(spread.most[s]), int(spread.fewest[s]), spread.cap[:, s]
    return {
        bundle for bundle in tried
        if bundle and open_[list(bundle)].all()
        and problem.rules.allows(bundle, problem.offer, *sizes)
    }  # fmt: skip


@settings(max_examples=int(__import__("os").environ.get("EX", "100")))
@given(cases(most=4, days=5))
def test_a_plan_has_the_bundles_that_the_policies_mean(case):
    mapping, people = case
    job, features, history = parsed(mapping), profiled(people), told(mapping, people)
    acts = brute.actions(mapping)
    assert acts == [(a.offer, a.channel, a.day) for a in actions_of(job)]
    left = policies.left(job, features, history)
    part = candidates(job, features, scored(job, features), history)
    placed = assemble(job, [part])
    problem, (block,), (order,) = placed.problem, placed.problem.blocks, placed.order
    closed = reasons.closed(job, features, history)
    place = {a: n for n, a in enumerate(acts)}
    tried = [tuple(place[a] for a in bundle) for bundle in brute.tried(mapping)]
    open_ = np.isfinite(problem.spread(block).propensity)
    assert len(block.propensity) == len(problem.rules.day_class) == len(actions(job.catalogue))
    for row, s in enumerate(order.tolist()):
        person = people[s]
        for policy in mapping["policies"]:
            alone = [brute.blocks(mapping, policy, person, a) for a in acts]
            assert left.forbids(policy["name"], len(acts))[:, s].tolist() == alone
        for d, counted in enumerate(problem.rules.members):
            assert block.cap[d, row] >= 1 or not open_[counted, row].any()
        allowed = brute.bundles(mapping, person)
        meant = {tuple(place[a] for a in bundle) for bundle in allowed if bundle}
        assert allowed_by(problem, block, row, tried) == meant
        told_of = closed[s], part.reason[s], part.blocked_by[s]
        check_reasons(mapping, person, allowed, told_of)

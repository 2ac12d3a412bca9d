"""Levels that goals reached, changed and dropped: against every allocation listed."""

from dataclasses import replace

import numpy as np
import pytest

from engine import goals
from engine.assemble import assemble
from engine.candidates import candidates
from engine.errors import ConfigError
from engine.history import History
from engine.problem import VALUE_UNIT
from engine.session import Session
from engine.solve import Status, solve
from tests import problems
from tests.certified import history, job_of, people, scores_of


def test_the_level_of_a_goal_is_a_limit_to_ask_for():
    job = job_of(goals=[{"name": "reach", "maximise": "contacts"}], solver={"gap_tolerance": 1e-12})
    features = people(3)
    placed = assemble(
        job, [candidates(job, features, scores_of(job, features), History(history()))]
    )
    problem = goals.pursue(job, placed.stock, solve).problem
    session = Session(problem)
    first = session.solve()
    assert "kept:reach" in session.limits
    assert first.value == problems.optimum(problem) / VALUE_UNIT
    k = session.limits.index("kept:reach")
    free = session.solve(drop=["kept:reach"])
    assert free.value == problems.optimum(problem, without=[k]) / VALUE_UNIT >= first.value
    assert session.solve({"kept:reach": 0}).value == free.value
    assert session.solve({"kept:reach": 1_000}).status == Status.INFEASIBLE


def test_a_level_may_be_a_loss():
    """Two contacts by sms cost a quarter each and bring nothing: that is the best there is."""
    rule = {"name": "many", "measure": "contacts", "channels": ["sms"], "at_least": 2}
    job = job_of(
        constraints=[rule], goals=[{"name": "gain", "maximise": "value"}],
        objective={"maximise": "contacts"}, solver={"gap_tolerance": 1e-12},
    )  # fmt: skip
    features = people(3, has_app=np.full(3, False))  # noqa: FBT003
    scores = scores_of(job, features)
    scores.loc[:, scores.columns != "subscriber"] = 0.0
    placed = assemble(
        job, [candidates(job, features, scores.astype("float32"), History(history()))]
    )
    problem = goals.pursue(job, placed.stock, solve).problem
    session = Session(problem)
    first = session.solve()
    (told,) = session.sensitivity(["kept:gain"])
    assert told.limit == told.use == -0.5 and told.holds_from <= -0.5 <= told.holds_to
    assert session.solve({"kept:gain": -0.5}).value == first.value
    for level in (-0.75, -5):
        k = session.limits.index("kept:gain")
        limit = problem.limit.copy()
        limit[k] = round(-level * problems.MICRO) * problem.rows[k].scale
        best = problems.optimum(replace(problem, limit=limit))
        assert session.solve({"kept:gain": level}).value == best / VALUE_UNIT > first.value
    assert session.solve({"kept:gain": 0}).status == Status.INFEASIBLE
    with pytest.raises(ConfigError, match="limits.many: must be a number from 0 to 1e12, got -1"):
        session.solve({"many": -1})
    with pytest.raises(ConfigError, match="limits.kept:gain: must be a number from -1e.12 to 1e12"):
        session.solve({"kept:gain": -2e12})

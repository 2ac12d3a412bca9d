"""Levels that goals reached, changed and dropped: against every allocation listed."""

from engine import goals
from engine.candidates import assemble, candidates
from engine.problem import VALUE_UNIT
from engine.session import Session
from engine.solve import Status, solve
from tests import problems
from tests.certified import history, job_of, people, scores_of


def test_the_level_of_a_goal_is_a_limit_to_ask_for():
    job = job_of(goals=[{"name": "reach", "maximise": "contacts"}], solver={"gap_tolerance": 1e-12})
    features = people(3)
    placed = assemble(job, [candidates(job, features, scores_of(job, features), history())])
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

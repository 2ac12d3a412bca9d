"""A job opened for what-ifs: the same problem as its run, and reasons for what is not open."""

import json

import pandas as pd
import pytest

from engine.errors import ConfigError
from jobs.what_if import opened
from tests.golden import __main__ as golden


def test_a_job_is_opened_as_it_was_run_and_explained(tmp_path):
    changes = [f"inputs.folder={json.dumps(str(golden.HERE / 'inputs'))}"]
    changes.append(f"output={json.dumps(str(tmp_path))}")
    with pytest.raises(
        ConfigError, match="stage ingest is not finished: .* is not there; run `walras"
    ):
        opened(golden.HERE / "job.yaml", changes)
    folder = golden.run(tmp_path)
    job = opened(golden.HERE / "job.yaml", changes)
    found = job.session.solve()
    assert found.value == json.loads((folder / "certificate.json").read_text())["value"]
    got, left = (pd.read_parquet(folder / name) for name in ("allocations", "decisions"))
    for subscriber, rows in got.groupby("subscriber"):
        told = job.explain(subscriber)
        names = {told.actions[a].name for a in told.chosen}
        assert names == set(rows["offer"] + "@" + rows["channel"])
        assert told.chosen_surplus == pytest.approx(rows["surplus"].sum(), abs=1e-9)
    words = {
        "hold_out": "held out",
        "not_eligible": "not valid, not eligible, or no consent or device",
        "policy": "policy",
    }
    seen = set()
    for row in left[left["reason"].isin(words)].itertuples():
        told = job.explain(row.subscriber)
        assert told.chosen == () and not any(a.is_open for a in told.actions)
        assert any(words[row.reason] in a.reason for a in told.actions)
        assert all(a.reason for a in told.actions)
        for policy in filter(None, row.detail.split(", ")):
            assert any(policy in a.reason for a in told.actions)
        seen.add(row.reason)
    assert {"hold_out", "policy"} <= seen
    with pytest.raises(ConfigError, match="no such subscriber, got -1"):
        job.explain(-1)

"""A small world with past contacts and outcomes to train a model on, for tests."""

import numpy as np
import pandas as pd

from engine import training
from engine.settings import Job

DAY = 86_400
AS_OF = int(pd.Timestamp("2026-10-01", tz="UTC").timestamp())
COLUMNS = ["usage_n_7d", "usage_n_30d", "mb_30d", "quiet_days"]


def job_of(**changes):
    """Two offers on two channels, features of one usage table."""
    categories = {"categories": ["offer", "channel"]}
    return Job.model_validate(
        {
            "name": "tiny",
            "as_of": "2026-10-01",
            "inputs": {
                "folder": "in",
                "subscribers": {"path": "s.parquet"},
                "events": {"usage": {"path": "u.parquet", "values": {"mb": {"unit": "MB"}}}},
                "contacts": {"path": "c.parquet", **categories},
                "outcomes": {"path": "o.parquet", **categories},
            },
            "features": [
                {"op": "count", "name": "usage_n", "of": "usage", "windows": ["7d", "30d"]},
                {"op": "sum", "name": "mb", "of": "usage.mb", "windows": ["30d"]},
                {"op": "recency", "name": "quiet_days", "of": "usage"},
            ],
            "scores": {"kind": "model", "trees": 20, "depth": 3, "max_contacts": 5_000} | changes,
            "catalogue": {
                "currency": "EUR",
                "channels": {"sms": {}, "push": {}},
                "offers": {
                    "data": {"category": "data", "value": 5, "channels": ["push", "sms"]},
                    "voice": {"category": "voice", "value": 3, "channels": ["sms"]},
                },
            },
        }
    )


def frame(rows, columns):
    return pd.DataFrame({name: [row[i] for row in rows] for i, name in enumerate(columns)}).astype(
        {name: "int64" for name in columns if name in {"subscriber", "time"}}
        | {name: "str" for name in columns if name in {"offer", "channel"}}
        | {name: "float64" for name in columns if name == "mb"}
    )


def world(subscribers=500, seed=5):
    """Subscribers whose acceptance follows their use in the seven days before a contact."""
    rng = np.random.default_rng(seed)
    keys = np.arange(subscribers) * 3
    contacts, outcomes, usage = [], [], []
    for key in keys:
        times = AS_OF - rng.integers(0, 60 * DAY, rng.integers(0, 25))
        usage += [(key, t, float(rng.gamma(2.0, 10.0))) for t in times]
        for t in AS_OF - rng.integers(0, 50 * DAY, 3):
            offer, channel = rng.choice(["data", "voice", "retired"]), rng.choice(["sms", "push"])
            recent = ((times < t) & (times > t - 7 * DAY)).sum()
            chance = 1 / (1 + np.exp(2.5 - 0.9 * recent - (channel == "push")))
            contacts.append((key, t, offer, channel))
            if rng.random() < chance:
                outcomes.append((key, t + rng.integers(1, 6 * DAY), offer, channel))
    events = {
        "usage": frame(usage, ["subscriber", "time", "mb"]),
        "contacts": frame(contacts, training.ROW),
        "outcomes": frame([o for o in outcomes if o[1] <= AS_OF], training.ROW),
    }
    return pd.DataFrame({"subscriber": keys}), {n: sort(e) for n, e in events.items()}


def sort(events):
    return events.sort_values(list(events)).reset_index(drop=True)


def rows_of(job, subscribers, events):
    return training.training_rows(job, subscribers, events)

"""A job with every kind of feature over one event table, for tests."""

from datetime import UTC, datetime

from engine.settings import Job

AS_OF = 1_790_000_000
SCHEMA = {
    "subscriber": "number", "since": "instant", "balance": "number", "plan": "text",
    "app": "boolean",
}  # fmt: skip
FEATURES = [
    {"op": "count", "name": "n", "of": "usage", "windows": ["1d", "7d"]},
    {"op": "sum", "name": "spent", "of": "usage.charge", "windows": ["1d", "7d", "30d"]},
    {"op": "mean", "name": "mean_spent", "of": "usage.charge", "windows": ["7d"]},
    {"op": "max", "name": "most_mb", "of": "usage.mb", "windows": ["30d", "1d"]},
    {"op": "sum", "name": "data_mb", "of": "usage.mb", "windows": ["7d"], "where": "kind = 'data'"},
    {"op": "recency", "name": "quiet_days", "of": "usage"},
    {"op": "gap_mean", "name": "gap", "of": "usage"},
    {"op": "gap_std", "name": "gap_off", "of": "usage", "where": "kind = 'voice'"},
    {"op": "decayed_sum", "name": "recent", "of": "usage.charge", "half_life": "7d"},
    {"op": "decayed_sum", "name": "recent_n", "of": "usage", "half_life": "7d"},
    {"op": "decayed_score", "name": "heat", "of": "usage.mb", "half_life": "1d", "scale": 2},
    {"op": "trend", "name": "slope", "of": "usage.charge", "window": "4d"},
    {"op": "run_out", "name": "left_h", "of": "usage.charge", "balance": "balance"},
    {"op": "response_rate", "name": "rate", "window": "30d", "prior": 0.1, "strength": 2},
    {"op": "last_contact", "name": "contacted", "window": "7d"},
    {"op": "tenure", "name": "tenure", "since": "since"},
    {"op": "lifecycle", "name": "stage", "of": "usage", "since": "since"},
    {"op": "expression", "name": "per_day", "sql": "spent_7d / 7"},
    {"op": "expression", "name": "rich", "sql": "per_day > 0 AND plan = 'pre'"},
    {"op": "expression", "name": "label", "sql": "CASE WHEN rich THEN stage ELSE plan END"},
    {"op": "min", "name": "least", "of": "usage.charge", "windows": ["7d", "30d"]},
    {"op": "std", "name": "spread", "of": "usage.charge", "windows": ["7d", "30d"]},
    {"op": "active_days", "name": "days", "of": "usage", "windows": ["1d", "30d"]},
    {"op": "active_days", "name": "voice_days", "of": "usage", "windows": ["7d"],
     "where": "kind = 'voice'"},
    {"op": "share", "name": "voice", "of": "usage", "windows": ["7d"], "where": "kind = 'voice'"},
    {"op": "change", "name": "more", "of": "usage.mb", "windows": ["1d", "2d"]},
    {"op": "change", "name": "busier", "of": "usage", "windows": ["2d"]},
    {"op": "against_baseline", "name": "usual", "of": "usage.charge", "windows": ["1d", "7d"],
     "baseline": "30d"},
    {"op": "first_seen", "name": "first", "of": "usage"},
    {"op": "gap_cv", "name": "uneven", "of": "usage"},
    {"op": "expected_next", "name": "next", "of": "usage"},
    {"op": "overdue", "name": "late", "of": "usage", "where": "kind = 'voice'"},
    {"op": "latest", "name": "last_mb", "of": "usage.mb"},
    {"op": "trend", "name": "weekly", "of": "usage.mb", "window": "28d", "every": "7d"},
    {"op": "run_out", "name": "empty", "of": "usage.charge", "balance": "balance",
     "half_life": "1d", "quantile": 0.1, "within": "3d"},
]  # fmt: skip


def job_of(features, **changes):
    """Return a job over one event table, contacts and outcomes, with these features."""
    history = {"path": "h", "categories": ["offer", "channel"]}
    usage = {
        "path": "u",
        "values": {"charge": {"unit": "money", "minimum": 0}, "mb": {"unit": "MB", "minimum": 0}},
        "categories": ["kind"],
    }
    content = {
        "name": "tiny",
        "as_of": datetime.fromtimestamp(AS_OF, UTC),
        "inputs": {
            "folder": "nowhere",
            "subscribers": {"path": "s"},
            "events": {"usage": usage},
            "contacts": history,
            "outcomes": history,
        },
        "features": features,
        "scores": {"kind": "columns", "columns": {"boost": "p"}},
        "catalogue": {
            "currency": "EUR",
            "channels": {"sms": {}, "push": {}},
            "offers": {"boost": {"category": "data", "value": 1, "channels": ["sms"]}},
        },
    }
    return Job.model_validate(content | changes)


JOB = job_of(FEATURES)

"""The propensity model: gradient-boosted trees on past contacts, calibrated, and its quality.

    margin = trees(features as of the contact, offer, category and channel as 0/1 columns)
    p      = min(max_propensity, 1 / (1 + exp(-(slope * margin + intercept))))

Contacts are ordered by time: the first share trains the trees, the next fits slope and intercept
(Platt), the rest measures. A contact whose outcome window reaches into the next share is in none.
Offers and channels that are not in the catalogue (any more) train too; their 0/1 columns are zero.

Source:
    Chen and Guestrin, "XGBoost: A Scalable Tree Boosting System", KDD 2016.
    Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine import ensemble, tables
from engine.actions import Action, actions
from engine.ensemble import THREADS
from engine.errors import ConfigError, DataError
from engine.features import names_of
from engine.quality import platt, quality
from engine.settings import Job
from engine.training import ROW, SHARES, model_columns, settings, split
from kernels import backend

LARGEST = float(np.finfo("float32").max)
TAKEN = (*ROW, "accepted")  # columns of training rows beside those the model sees


@dataclass(frozen=True)
class Model:
    """Trees with their calibration."""

    booster: Any
    columns: tuple[str, ...]  # [F] features, the first columns of the block
    slope: float
    intercept: float
    cap: float  # calibrated propensities are never above this

    def calibrated(self, margin: Any) -> Any:
        """Return the propensities of margins, float64, capped."""
        library = backend.library(margin)
        score = margin.astype("float64") * self.slope + self.intercept
        return library.minimum(1 / (1 + library.exp(-score)), self.cap)

    def save(self, folder: Path) -> None:
        """Write ``model.json`` (XGBoost's own format) and ``calibration.json``."""
        self.booster.save_model(folder / "model.json")
        rest = {"columns": self.columns, "slope": self.slope, "intercept": self.intercept}
        text = json.dumps({**rest, "cap": self.cap}, indent=1)
        (folder / "calibration.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Model":
        """Read what :meth:`save` wrote; it scores on the CPU until told otherwise."""
        booster = ensemble.xgboost().Booster({"nthread": THREADS}, model_file=folder / "model.json")
        rest = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
        return cls(booster, tuple(rest.pop("columns")), **rest)


def problems(job: Job, schema: Mapping[str, Any]) -> list[str]:
    """Return every problem of a job's model settings, given the kind of each column."""
    found = []
    try:
        ensemble.xgboost()
    except ConfigError as error:
        found.append(str(error))
    wanted, columns = settings(job), model_columns(job, schema)
    if wanted.train_share + wanted.calibrate_share >= 1:
        found.append(
            "scores: train_share and calibrate_share should leave a share for the test, got "
            f"{wanted.train_share} + {wanted.calibrate_share}; their sum must be below 1"
        )
    if not columns:
        found.append(
            "scores.features: no numeric feature to learn from that is known as of a past contact; "
            "add one to features"
        )
    made = {name for feature in job.features for name in names_of(feature, job)}
    found += [
        f"features: the column {name} is also a column of the rows that train the model; "
        "give the feature another name"
        for name in TAKEN
        if name in made and name != "subscriber"  # which no feature is called, model or not
    ]
    for index, name in enumerate(columns):
        if name in TAKEN and name not in made:
            found.append(
                f"scores.features.{index}: {name} is also a column of the rows that train the "
                "model; list a feature with another name (op: expression) instead"
            )
        elif name not in schema:
            there = ", ".join(sorted(schema))
            found.append(f"scores.features.{index}: unknown column {name}; there are {there}")
        elif schema[name] not in {"number", "boolean"}:
            found.append(
                f"scores.features.{index}: should be a numeric or boolean column, "
                f"got {name}, which is {schema[name]}"
            )
        elif columns.index(name) < index:
            found.append(f"scores.features.{index}: {name} is named twice")
    return found


def one_hot(job: Job) -> list[str]:
    """Return the 0/1 columns: ``offer=…``, ``category=…``, ``channel=…``, in catalogue order."""
    offers = job.catalogue.offers
    categories = dict.fromkeys(offer.category for offer in offers.values())
    return [
        *(f"offer={name}" for name in offers),
        *(f"category={name}" for name in categories),
        *(f"channel={name}" for name in job.catalogue.channels),
    ]


def _ones(job: Job, action: Action) -> list[str]:
    """Return the 0/1 columns that are 1 for an action."""
    category = job.catalogue.offers[action.offer].category
    return [f"offer={action.offer}", f"category={category}", f"channel={action.channel}"]


def block(frame: Any, columns: tuple[str, ...], hot: int) -> Any:
    """Return features as [rows, F + hot] float32; missing is NaN, the 0/1 columns are 0.

    Raises:
        DataError: a value is infinite, or too large for float32.
    """
    arrays = [tables.array(frame[name].astype("float64")) for name in columns]
    library = backend.library(arrays[0])
    out = library.zeros((len(frame), len(columns) + hot), "float32")
    for index, (name, values) in enumerate(zip(columns, arrays, strict=True)):
        wrong = int((library.abs(values) > LARGEST).sum())
        if wrong:
            raise DataError(
                f"feature {name}: is infinite or beyond 3.4e38 for {wrong} rows; "
                "the model needs finite numbers (or missing ones)"
            )
        out[:, index] = values
    return out


def _training_block(job: Job, rows: Any, columns: tuple[str, ...]) -> Any:
    names = one_hot(job)
    out = block(rows, columns, len(names))
    for place, name in enumerate(names, len(columns)):
        column, _, value = name.partition("=")
        if column == "category":
            members = [o for o, s in job.catalogue.offers.items() if s.category == value]
            is_one = rows["offer"].isin(members)
        else:
            is_one = rows[column] == value
        out[:, place] = tables.array(is_one.astype("float32"))
    return out


def propensities(job: Job, model: Model, features: Any) -> Any:
    """Score every action for the subscribers of a partition.

    Args:
        job: a job whose scores are a model.
        model: the trained model.
        features: subscriber columns and features, sorted by subscriber (pandas or cuDF).

    Returns:
        Frame with ``subscriber`` and, per action, a float32 column in [0, 1] of its name.
    """
    names, every = one_hot(job), actions(job.catalogue)
    place = {name: len(model.columns) + index for index, name in enumerate(names)}
    ones = [frozenset(place[name] for name in _ones(job, action)) for action in every]
    inputs = block(features, model.columns, len(names))
    trees = ensemble.resolved(model.booster, len(model.columns), ones)
    if backend.library(inputs) is not np:
        trees.booster.set_param({"device": "cuda"})
    out = {"subscriber": features["subscriber"]}
    for action, margin in zip(every, trees.margins(inputs), strict=True):
        out[action.name] = model.calibrated(margin).astype("float32")
    return tables.frame(out, features)


def fit(job: Job, rows: Any, columns: list[str]) -> tuple[Model, dict[str, Any]]:
    """Train, calibrate and measure a model.

    Args:
        job: a job whose scores are a model.
        rows: training rows of all partitions, in any order (see ``engine/training.py``).
        columns: the columns the model sees.

    Returns:
        model: the trained model.
        quality: contacts and accepts by share, contacts purged, AUC, Brier score, calibration
            table, importance.

    Raises:
        DataError: too few contacts or accepts, with their counts.
    """
    xgboost, wanted = ensemble.xgboost(), settings(job)
    rows = rows.sort_values(ROW).reset_index(drop=True)
    label = backend.to_cpu(tables.array(rows["accepted"].astype("int64")))
    share, purged = split(job, backend.to_cpu(tables.array(rows["time"])))
    train, calibrate, test = parts = [(share == k) & ~purged for k in range(len(SHARES))]
    counts = {
        "contacts": {name: int(part.sum()) for name, part in zip(SHARES, parts, strict=True)},
        "accepts": {name: int(label[part].sum()) for name, part in zip(SHARES, parts, strict=True)},
        "purged": {name: int(purged[share == k].sum()) for k, name in enumerate(SHARES[:-1])},
    }
    _enough(job, **counts)

    inputs = _training_block(job, rows, tuple(columns))
    on_gpu = backend.library(inputs) is not np
    options = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "device": "cuda" if on_gpu else "cpu",
        "max_depth": wanted.depth,
        "learning_rate": wanted.learning_rate,
        "seed": job.seed % 2**31,
        "nthread": THREADS,
    }
    place = backend.to_gpu if on_gpu else np.asarray
    matrix = xgboost.QuantileDMatrix(inputs[place(train)], label=label[train], nthread=THREADS)
    booster = xgboost.train(options, matrix, wanted.trees)
    margin = backend.to_cpu(booster.inplace_predict(inputs, predict_type="margin"))
    slope, intercept = platt(margin[calibrate], label[calibrate])
    model = Model(booster, tuple(columns), slope, intercept, _cap(wanted.max_propensity))
    base = float(label[train | calibrate].mean())
    measured = quality(model.calibrated(margin[test]), label[test], base)
    importance = _importance(booster, [*columns, *one_hot(job)])
    return model, counts | measured | {"importance": importance}


def _enough(
    job: Job, contacts: dict[str, int], accepts: dict[str, int], purged: dict[str, int]
) -> None:
    """Refuse shares that a model cannot be trained, calibrated or measured on."""
    fewest = settings(job).min_accepts
    found = []
    if accepts["train"] < fewest or accepts["train"] == contacts["train"]:
        found.append(
            f"scores: the training share has {accepts['train']} accepted of "
            f"{contacts['train']} contacts ({purged['train']} more are purged); it needs at least "
            f"{fewest} accepted (scores.min_accepts) and one that is not"
        )
    if not 0 < accepts["calibrate"] < contacts["calibrate"]:
        found.append(
            f"scores: the calibration share has {accepts['calibrate']} accepted of "
            f"{contacts['calibrate']} contacts ({purged['calibrate']} more are purged); "
            "it needs one that is and one that is not"
        )
    if not contacts["test"]:
        found.append("scores: the test share has no contacts; it needs at least one")
    if found:
        hint = "more past contacts, another scores.horizon or other shares would help"
        why = "; contacts whose outcome window reaches into the next share are purged"
        raise DataError.of([*found, hint + why * any(purged.values())])


def _cap(highest: float) -> float:
    """Return the largest float32 that is not above ``highest``."""
    nearest = np.float32(highest)
    return float(nearest if nearest <= highest else np.nextafter(nearest, np.float32(0)))


def _importance(booster: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return each column's share of the trees' total gain, largest first."""
    by_place = booster.get_score(importance_type="total_gain")  # f0, f1 ...; not of no gain
    gain = {place: by_place.get(f"f{place}", 0.0) for place in range(len(names))}
    whole = sum(gain.values()) or 1.0
    ranked = sorted((place for place in gain if gain[place]), key=lambda place: -gain[place])
    return [{"feature": names[place], "gain": gain[place] / whole} for place in ranked]

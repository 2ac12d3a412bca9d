"""Calibration of a classifier's margins, and how good the resulting probabilities are."""

from typing import Any

import numpy as np

BINS = 10
RIDGE = 1e4  # inverse strength of a ridge that keeps the fit finite when the classes separate


def platt(margin: Any, label: Any) -> tuple[float, float]:
    """Fit ``p = 1 / (1 + exp(-(slope * margin + intercept)))`` by maximum likelihood.

    Args:
        margin: [n] float, on the CPU.
        label: [n] int, 0 or 1, both present.

    Returns:
        slope: per unit of margin.
        intercept: log odds at margin 0.

    Source:
        Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second: only when a model trains
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # sums over rows must not depend on the machine's processors
        fitted = LogisticRegression(C=RIDGE, solver="newton-cholesky", max_iter=200).fit(
            np.asarray(margin, np.float64)[:, None], label
        )
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def quality(predicted: Any, label: Any, base: float) -> dict[str, Any]:
    """Measure probabilities against what happened.

    Args:
        predicted: [n] float64 in [0, 1], n >= 1.
        label: [n] int, 0 or 1.
        base: accept rate known before, the prediction that knows no features.

    Returns:
        ``auc`` (null, with ``auc_note``, when only one class occurs), ``brier`` (mean squared
        error of the probabilities), ``brier_base`` (that of ``base``), and ``calibration``: bins
        of equally many contacts by ascending prediction, with their mean prediction and accept
        rate.
    """
    from sklearn.metrics import brier_score_loss, roc_auc_score

    one_class = len(np.unique(label)) == 1
    order = np.argsort(predicted, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    what = "accepted" if label[0] else "refused"
    return {
        "auc": None if one_class else float(roc_auc_score(label, predicted)),
        **({"auc_note": f"all contacts of the test share were {what}"} if one_class else {}),
        "brier": float(brier_score_loss(label, predicted, labels=[0, 1])),
        "brier_base": float(brier_score_loss(label, np.full(len(label), base), labels=[0, 1])),
        "calibration": [
            {
                "predicted": float(predicted[part].mean()),
                "observed": float(label[part].mean()),
                "contacts": len(part),
            }
            for part in bins
        ],
    }

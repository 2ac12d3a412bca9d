"""Peers on one problem, each in a process of its own, all judged here by one judge.

A peer has ``time_limit`` seconds to build its model and as many to solve; ``GRACE_S`` later, or
that share later, its process is killed, whatever it is at. The bound of a peer is the Lagrangian
bound at its prices (:mod:`benchmarks.judge`); a peer without prices has the bound it claims, and
says so. ``PEERS_PYTHON`` in the environment names another Python to run the peers with.
"""

from collections.abc import Sequence
from dataclasses import asdict
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.judge import judged
from benchmarks.peers import PEERS
from benchmarks.plain import Plain, load, save
from benchmarks.process import apart, peers_python

GRACE_S, GRACE_SHARE = 10.0, 0.1


def compared(
    instance: Plain | str | Path,
    peers: Sequence[str],
    *,
    gap: float,
    time_limit: float,
    own: dict[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Run peers on a problem and return a row of figures for each.

    Args:
        instance: the problem, or a file of it.
        peers: names, of ``benchmarks.peers.PEERS``.
        gap: share of the bound that may be missing, where a peer can be told.
        time_limit: seconds of solving for each.
        own: walras's ``seconds``, ``value`` and ``bound`` on the same problem, to compare with.

    Returns:
        By peer: ``peer``, ``status``, ``version``, ``seconds``, ``cpu_seconds`` of all threads
        (what others on the machine take does not count) and ``build_seconds``, ``value`` and
        ``bound`` (money) with ``bound_by`` (prices, or claimed), ``gap`` of its own bound and
        ``loss``, by which its value is below the least bound of all (both shares of the bound; None
        without one), ``overrun_share``, ``overruns``, ``cap_overrun``, ``cap_overruns``,
        ``fractional`` (see ``Judgement``), ``peak_bytes``, and ``ratio``, its seconds over
        walras's. A peer without an answer has None for what it lacks.

    Raises:
        ValueError: there is no such peer.
    """
    unknown = [p for p in peers if p not in PEERS]
    if unknown:
        raise ValueError(f"no peer {', '.join(unknown)}; there are {', '.join(PEERS)}")
    with TemporaryDirectory() as folder:
        path = Path(folder, "instance.npz")
        if isinstance(instance, Plain):
            plain = instance
            save(plain, path)
        else:
            plain, path = load(instance), Path(instance).resolve()
        rows = [
            _row(plain, peer, _run(peer, path, Path(folder, peer), gap, time_limit))
            for peer in peers
        ]
    bounds = [r["bound"] for r in rows if r["bound"] is not None]
    bounds += [own["bound"]] if own else []
    for row in rows:
        row["loss"] = _gap(row["value"], min(bounds, default=None))
        row["ratio"] = row["seconds"] / own["seconds"] if own and row["seconds"] else None
    return rows


def _gap(value: float | None, bound: float | None) -> float | None:
    if value is None or bound is None:
        return None
    return (bound - value) / max(1.0, abs(bound))


def _row(plain: Plain, peer: str, found: dict[str, Any]) -> dict[str, Any]:
    """Judge what a peer's process left."""
    names = ("status", "version", "seconds", "cpu_seconds", "build_seconds", "peak_bytes")
    row = {"peer": peer} | {name: found["figures"].get(name) for name in names}
    judgement: dict[str, Any] = dict.fromkeys(
        ("value", "bound", "overrun_share", "overruns", "cap_overrun", "cap_overruns", "fractional")
    )
    bound_by = None
    if "chosen" in found:
        judgement = asdict(judged(plain, found["chosen"], found.get("prices")))
        bound_by = "prices"
        if judgement["bound"] == inf:
            judgement["bound"] = found["figures"].get("claimed_bound")
            bound_by = None if judgement["bound"] is None else "claimed"
    row |= judgement | {"bound_by": bound_by}
    return row | {"gap": _gap(row["value"], row["bound"])}


def _run(peer: str, path: Path, answer: Path, gap: float, time_limit: float) -> dict[str, Any]:
    """Run a peer's process and return its figures and arrays."""
    command = [peers_python(), "-m", "benchmarks.peers", peer, str(path), "--gap", str(gap)]
    command += ["--time-limit", str(time_limit), "--answer", str(answer)]
    return apart(command, answer, time_limit * (1 + GRACE_SHARE) + GRACE_S)

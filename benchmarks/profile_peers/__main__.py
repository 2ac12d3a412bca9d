"""Run one engine on one set of events in this process, and leave its features and its times.

``python -m benchmarks.profile_peers ENGINE DATA --repeats N [--parquet] --answer FILE``: one run
warms up, the others are timed. ``peak_bytes`` counts from after the load and the warm-up, and
holds what was loaded (``loaded_bytes``). The parent, ``benchmarks/profile.py``, checks the answer.
"""

import argparse
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.process import forget_peak, leave, peak_memory
from benchmarks.profile_data import Data, read
from benchmarks.profile_peers import ENGINES, FEATURES


def timed(run: Callable[[], Any], repeats: int, prepare: Callable[[], None]) -> tuple[Any, Any]:
    """Return the last result of a run, and the figures of all but the first.

    Args:
        run: what is timed; its result is let go before the next run.
        repeats: how often it is timed.
        prepare: is called before each run, and not timed.
    """
    prepare()
    result = run()
    figures: dict[str, Any] = {"warm_bytes": forget_peak()}
    seconds = []
    for _ in range(repeats):
        result = None
        prepare()
        begin = perf_counter()
        result = run()
        seconds.append(perf_counter() - begin)
    figures |= {"seconds": median(seconds), "all_seconds": seconds, "peak_bytes": peak_memory()}
    return result, figures


def in_memory(engine: Any, loaded: Any, repeats: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the figures and the features of an engine on loaded events."""
    held = {"loaded_bytes": forget_peak()}
    features, figures = timed(lambda: engine.in_memory(loaded), repeats, lambda: None)
    found = engine.columns(features)
    if hasattr(engine, "kernel"):
        figures |= engine.reads(loaded) | engine.kernel(loaded, repeats)
    return held | figures, found


def from_parquet(engine: Any, data: Data, repeats: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the figures and the features of an engine from files to files."""
    with TemporaryDirectory() as parent:
        folder = Path(parent, "features")

        def prepare() -> None:
            rmtree(folder, ignore_errors=True)
            folder.mkdir()

        _, figures = timed(lambda: engine.from_parquet(data, folder), repeats, prepare)
        found = read(sorted(folder.glob("*.parquet")), ("subscriber", *FEATURES))
    if hasattr(engine, "reads"):
        figures |= engine.reads(engine.load(data))
    return figures, found


def answered(options: argparse.Namespace) -> None:
    """Run the engine, and leave its answer."""
    package = ENGINES[options.engine]
    try:
        engine = import_module(f"benchmarks.profile_peers.{options.engine}")
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        status = f"ABSENT: {package} is not installed: pip install 'walras[peers]'"
        leave(options.answer, {"status": status}, {})
        return
    data, begin = Data(options.data), Path(f"{options.answer}.begun").touch
    if options.parquet:
        begin()
        figures, found = from_parquet(engine, data, options.repeats)
    else:
        loaded = engine.load(data)
        begin()
        figures, found = in_memory(engine, loaded, options.repeats)
    figures |= {"status": "OK", "version": f"{package} {version(package)}"}
    arrays = {n: np.asarray(found[n], np.float64) for n in FEATURES}
    leave(options.answer, figures, {"subscriber": found["subscriber"], **arrays})


def main(arguments: list[str] | None = None) -> None:
    """Run one engine."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_peers", description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("data", type=Path, help="a folder, from benchmarks.profile_data.made")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parquet", action="store_true", help="from files to files")
    parser.add_argument("--answer", required=True, help="the file to write")
    answered(parser.parse_args(arguments))


if __name__ == "__main__":
    main()

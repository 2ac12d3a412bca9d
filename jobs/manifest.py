"""What a run was made of: job, hashes, versions, seconds, peak memory."""

import hashlib
import json
import platform
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.errors import DataError
from engine.settings import Job
from jobs.raw import find

DISTRIBUTION = "walras"
LIBRARIES = (
    "dask", "deltalake", "numba", "numpy", "ortools", "pandas", "pyarrow", "scikit-learn",
    "sqlglot", "tzdata", "xgboost", "xgboost-cpu", "cudf-cu13", "cudf-cu12", "cupy-cuda13x",
    "cupy-cuda12x",
)  # fmt: skip


def canonical(value: Any) -> bytes:
    """Return the one JSON text of ``value``, without spaces.

    Keys keep their order: of offers and channels it breaks ties, of value columns it orders rows.
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def digest(value: Any) -> str:
    """Return the BLAKE2b hash of a JSON-able value, 32 hexadecimal digits."""
    return hashlib.blake2b(canonical(value), digest_size=16).hexdigest()


def _files(job: Job) -> dict[str, list[Path]]:
    folder, events = job.inputs.folder, job.inputs.events
    found = {"subscribers": find(folder, job.inputs.subscribers.path, "inputs.subscribers.path")}
    for name, own in job.inputs.lists.items():
        found[f"lists.{name}"] = find(folder, own.path, f"inputs.lists.{name}.path")
    for name, table in job.inputs.tables().items():
        where = f"inputs.events.{name}.path" if name in events else f"inputs.{name}.path"
        found[name] = find(job.inputs.folder_of(name), table.path, where)
    return found


def input_hashes(job: Job) -> dict[str, dict[str, str]]:
    """Return the content hash of every input file: ``{table: {file: hash}}``.

    Names are relative to the inputs' folder, so that a moved folder is recognised.

    Raises:
        DataError: when a table has no file, or a file cannot be read.
    """
    tables = _files(job)
    named = [(table, path) for table, paths in tables.items() for path in paths]
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(_hash, [path for _, path in named]))
    unread = [result for result in results if isinstance(result, OSError)]
    if unread:
        raise DataError.of(f"{e.filename}: cannot be read, got {e.strerror}" for e in unread)
    hashes: dict[str, dict[str, str]] = {table: {} for table in tables}
    for (table, path), result in zip(named, results, strict=True):
        hashes[table][path.relative_to(job.inputs.folder_of(table)).as_posix()] = str(result)
    return hashes


def _hash(path: Path) -> str | OSError:
    try:
        state = path.stat()
        return _hashed(path, state.st_ino, state.st_size, state.st_mtime_ns)
    except OSError as error:
        return error


@lru_cache(maxsize=1 << 16)
def _hashed(path: Path, *state: int) -> str:
    """Return the content hash of a file; one that stays as it is, is read once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


@cache
def version() -> str:
    """Return walras's version with a hash of its sources: other code, other fingerprints."""
    root = Path(__file__).parent.parent
    sources = sorted(
        path
        for package in ("kernels", "engine", "jobs")
        for path in (root / package).rglob("*")
        if path.suffix in {".py", ".cu", ".cuh"}
    )
    code = hashlib.blake2b(digest_size=4)
    for path in sources:
        content = path.read_bytes()
        code.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return f"{_installed(DISTRIBUTION) or 'source'}+{code.hexdigest()}"


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Return the versions of walras, Python and every library present that shapes a result."""
    found = {name: _installed(name) for name in LIBRARIES}
    return {
        DISTRIBUTION: version(),
        "python": platform.python_version(),
        **{name: number for name, number in found.items() if number},
    }


def effective(job: Job) -> dict[str, Any]:
    """Return the job with every default filled in, as JSON-able settings."""
    settings: dict[str, Any] = job.model_dump(mode="json")
    return settings


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write readable JSON; a number that JSON lacks (NaN, infinity) is our mistake."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8")

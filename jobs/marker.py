"""What an input folder was filled with: written into it, so that jobs recognise it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MARKER = ".walras-source.json"


def mark(folder: Path, source: Mapping[str, Any]) -> None:
    """Say in a folder with what it is filled.

    Args:
        folder: the folder, filled.
        source: settings of an ``inputs.source``, its kind included.
    """
    (folder / MARKER).write_text(json.dumps(source), encoding="utf-8")


def marked(folder: Path) -> dict[str, Any] | None:
    """Return the settings with which a folder was filled, if it says so."""
    try:
        found = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None

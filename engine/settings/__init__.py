"""The job file: every setting with its type, unit, range and default, once."""

from engine.settings.job import Job
from engine.settings.load import Loaded, load, parse, read

__all__ = ["Job", "Loaded", "load", "parse", "read"]

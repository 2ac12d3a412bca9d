"""The job file: every setting with its type, unit, range and default, once."""

from engine.settings.job import Job
from engine.settings.load import load, parse

__all__ = ["Job", "load", "parse"]

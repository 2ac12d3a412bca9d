"""Every error a user can meet.

EngineError
├── ConfigError      a job file is wrong: fix the file
├── DataError        an input table breaks its schema: fix the data
├── AllocationError  no allocation was found, and none was proved impossible: give more time
└── RefusedError     planned contacts break policies on the ledger as it is: run the job again

The text of an error is one problem a line, each ``where: what is wrong, got <value>; what is
allowed``. The command exits with 2 on ConfigError and DataError, with 4 on AllocationError, with 5
on RefusedError. That limits conflict is an answer, not an error: see :class:`engine.solve.Status`.
"""

from collections.abc import Iterable


class EngineError(Exception):
    """Base of all errors raised on purpose."""

    @classmethod
    def of(cls, problems: Iterable[str]) -> "EngineError":
        """Return one error that lists every problem, a line each."""
        return cls("\n".join(problems))


class ConfigError(EngineError):
    """A job file is wrong."""


class DataError(EngineError):
    """An input table breaks its schema."""


class AllocationError(EngineError):
    """No allocation was found, and none was proved impossible."""


class RefusedError(EngineError):
    """Planned contacts would break policies, as others have booked contacts meanwhile."""

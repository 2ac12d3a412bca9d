"""``python -m jobs`` is the command ``walras``."""

from jobs.cli import main

main()

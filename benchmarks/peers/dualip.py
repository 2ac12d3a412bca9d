"""DuaLip (LinkedIn): not run, and it says why.

DuaLip is on GitHub and, its older Scala version, on Maven; the package index for Python has no
``dualip``. A benchmark that fetched a repository's head would not be one to repeat, so no adapter
is kept here that nobody could test.
"""

from benchmarks.peers import AbsentError, Answer, Task
from benchmarks.plain import Plain


def solve(plain: Plain, task: Task) -> Answer:
    """Refuse.

    Raises:
        AbsentError: always.
    """
    raise AbsentError(
        "dualip: 'pip install dualip' finds no distribution (the package index has none of this "
        "name), so DuaLip was not measured"
    )

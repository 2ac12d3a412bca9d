"""Uses and limits as 64-bit whole numbers, rounded so that what fits them fits the problem."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.plain import Plain

MOST_BITS = 61  # of a limit, or of all uses together: sums stay below 2**63


@dataclass(frozen=True, eq=False)
class Whole:
    """The limits' side in whole numbers: uses rounded up, limits down."""

    use_indptr: Any  # [N + 1] int64
    use_row: Any  # [M] int32
    amount: Any  # [M] int64
    limit: Any  # [K] int64

    @property
    def uses(self) -> tuple[Any, Any, Any]:
        """Return the uses, as the compiled functions take them."""
        return self.use_indptr, self.use_row, self.amount

    @property
    def is_kept(self) -> Any:
        """Return [K] bool: a limit below 0 is a minimum, which a greedy method cannot keep."""
        return self.limit >= 0


def whole(plain: Plain, most_bits: int = MOST_BITS) -> Whole:
    """Turn uses and limits into whole numbers; exactly so, unless a sum might overflow."""
    sizes = [np.abs(plain.limit).max(initial=0.0), np.abs(plain.use_amount).sum()]
    bits = int(np.frexp(max(sizes))[1]) - plain.use_grid
    grid = plain.use_grid + max(0, bits - most_bits)
    amount = np.ceil(np.ldexp(plain.use_amount, -grid)).astype(np.int64)
    limit = np.floor(np.ldexp(plain.limit, -grid)).astype(np.int64)
    return Whole(plain.use_indptr, plain.use_row, amount, limit)

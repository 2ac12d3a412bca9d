"""What the report's sections are made of, and how it writes numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from jobs import charts
from jobs.charts import Bar


@dataclass(frozen=True)
class Column:
    """A column of a table; kinds: n number, long text that wraps, wide-only hidden on phones."""

    name: str
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text; the first cell names the row."""

    caption: str
    columns: tuple[Column, ...]
    rows: list[list[str]]


@dataclass(frozen=True)
class Panel:
    """A chart, its description for those who cannot see it, and its table."""

    title: str = ""
    text: str = ""
    chart: Callable[[], Any] | None = None  # draws it, for the page alone
    alt: str = ""
    table: Table | None = None


@dataclass(frozen=True)
class Section:
    """A heading with panels."""

    id: str
    title: str
    text: str
    panels: list[Panel]


def columns(*names: str) -> tuple[Column, ...]:
    """Return columns from names: ``#`` in front marks numbers, ``~`` long text, ``?`` wide-only."""
    kinds = {"#": "n", "~": "long", "?": "n wide-only"}
    return tuple(Column(n[1:], kinds[n[0]]) if n[0] in kinds else Column(n) for n in names)


def bar_panel(
    title: str, rows: list[Bar], table: Table, *, axis: str = "contacts", **options: Any
) -> Panel:
    """Return bars with the table that says the same; ``options`` are those of the chart."""
    if not rows:
        return Panel(title, "There are none.")
    alt = f"{title}, {axis}: " + "; ".join(f"{row.label} {row.text}" for row in rows)
    drawn = partial(charts.bars, rows, axis=axis, **options)
    return Panel(title, chart=drawn, alt=alt, table=table)


def count(value: float | None) -> str:
    """Return a whole number with thousands separated, or a dash for none."""
    return "–" if value is None else f"{value:,.0f}"


def amount(value: float | None) -> str:
    """Return a number: whole from a thousand on, two decimals below."""
    if value is None:
        return "–"
    whole = abs(value) >= 1_000 or float(value).is_integer()
    return f"{value:,.0f}" if whole else f"{value:,.2f}"


def money(currency: str, value: float | None) -> str:
    """Return an amount of money, or a dash for none."""
    return "–" if value is None else f"{currency} {amount(value)}"


def quantity(unit: str, currency: str, value: float | None) -> str:
    """Return an amount of money, or of another measure, with its unit."""
    return money(currency, value) if unit == currency else f"{amount(value)} {unit}"


def share(value: float | None) -> str:
    """Return a share in per cent."""
    return "–" if value is None else f"{value * 100:,.1f} %"


def tiny(value: float | None) -> str:
    """Return a small number such as a gap: 0, or two digits and a power of ten."""
    return "–" if value is None else f"{value:.1e}" if value else "0"


def price(value: float | None) -> str:
    """Return a price per unit of a constraint: 0 when slack, else four decimals."""
    return "–" if value is None else f"{value:,.4f}" if value else "0"


def ratio(part: float, whole: float) -> float:
    """Return part / whole, and 0 when there is no whole."""
    return part / whole if whole else 0.0

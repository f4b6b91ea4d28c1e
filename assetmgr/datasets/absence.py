"""Rows whose media are not there: by the whole column at once, not row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from assetmgr.datasets.table import Table


def rows_without(table: Table, absent: Mapping[str, Sequence[str]], rows: Iterable[int] | None = None) -> list[int]:
    """The numbers of the rows (among ``rows``; None: all) that have none of these values in these columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    keep = pa.array(range(len(table)) if rows is None else list(rows), pa.int64())
    for name, values in absent.items():
        held = table.arrow([name]).column(name).take(keep)
        keep = keep.filter(pc.invert(pc.is_in(held, value_set=pa.array(values, pa.string()))))
    kept: list[int] = keep.to_pylist()
    return kept

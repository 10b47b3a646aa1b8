"""What a champion has learned from, beside what it is tested on: rows for an audit of one against the other."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tasks.leakage.exact import COLUMNS


def learned_and_tested(champion: pa.Table, tonight: pa.Table) -> pa.Table:
    """Join what a champion learned from with a test split.

    Args:
        champion: The manifest rows that the champion learned from: its train and val splits are taken, as `train`.
        tonight: The manifest rows that it is tested on: the test split is taken.
    """
    learned = champion.filter(pc.is_in(champion.column("split"), pa.array(["train", "val"]))).select(list(COLUMNS))
    learned = learned.set_column(learned.schema.get_field_index("split"), "split", pa.array(["train"] * len(learned)))
    tested = tonight.filter(pc.equal(tonight.column("split"), "test")).select(list(COLUMNS))
    return pa.concat_tables([learned.replace_schema_metadata(None), tested.replace_schema_metadata(None)])

"""How nouns become columns."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tasks.lake.table_schemas import TABLES, arrow_schema, columns_of, from_arrow, to_arrow
from tasks.schemas import Annotation, Decision, GateResult, Interval, Recording, Verdict
from tests.lake.nouns import AT, annotation


def test_columns_follow_the_noun() -> None:
    assert columns_of(Annotation)["objects"] == "json"
    assert columns_of(Recording)["um_per_px"] == "float64"
    assert columns_of(Recording)["variable_frame_rate"] == "bool"
    assert columns_of(Recording)["pinned_split"] == "string"
    assert columns_of(Verdict)["verdict"] == "string"
    assert columns_of(Verdict)["reasons"] == "json"
    assert arrow_schema(Recording).field("ingested_at").type == pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize("table", list(TABLES))
def test_every_table_has_a_schema_that_pyiceberg_takes(table: str) -> None:
    schema = arrow_schema(TABLES[table])
    assert schema.names == list(TABLES[table].model_fields)
    assert all(field.nullable for field in schema)


def test_nested_nouns_survive() -> None:
    interval = Interval(low=-0.1, high=None, confidence=0.95)
    gate = GateResult(gate="AP50", decision=Decision.HOLD, reason="wide", difference=interval)
    verdict = Verdict(
        verdict_id="v", line="sperm-detector", run_key="k", verdict=Decision.HOLD, reasons=("a", "b"), gates=(gate,),
        metrics={"AP50": 0.5, "per_class": {"späte": None}}, dataset_version="d", model_version="1", mlflow_run="r",
        evaluation_oid="0" * 64, at=AT,
    )  # fmt: skip
    assert from_arrow(to_arrow("verdicts", [verdict]), Verdict) == [verdict]


def test_floats_survive_exactly() -> None:
    row = annotation(1)
    assert from_arrow(to_arrow("annotations", [row]), Annotation)[0].objects[0]["height_px"] == 1 / 3

"""Settings and lines: all faults at once, nothing read at import."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tasks.config import HOME, Gate, load_line, load_lines, load_settings, parse_line
from tasks.errors import ConfigError
from tasks.schemas import digest

LINES = HOME / "dags" / "lines"
SHIPPED = yaml.safe_load((LINES / "sperm-detector.yaml").read_text())


def test_the_shipped_line_reads() -> None:
    line = load_line("sperm-detector", LINES)
    assert list(line.classes) == ["sperm", "impurity"]
    assert line.dag_id == "retrain_sperm_detector"
    assert [gate.id for gate in line.gates] == [
        "AP50.sperm.at_least", "AP50.each-class.at_least", "AP50_95.not_worse_by", "AP50.each-class.not_worse_by",
        "latency_ms_p95.at_most", "model_size_mb.at_most",
    ]  # fmt: skip


def test_every_fault_is_reported_at_once() -> None:
    data = SHIPPED | {"kind": "telepathy", "colour": "red", "splits": {"train": 0.5, "val": 0.1, "test": 0.1}}
    with pytest.raises(ConfigError) as caught:
        parse_line(data, "some.yaml")
    assert all(part in str(caught.value) for part in ("some.yaml", "kind", "colour", "train + val + test must be 1"))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"minimums": {"labels": {"egg": 3}}}, "'egg'"),
        ({"gates": [{"metric": "AP50", "class": "egg", "at_least": 0.5}]}, "'egg'"),
        ({"gates": [{"metric": "AP50", "at_least": 0.5, "at_most": 0.9}]}, "exactly one"),
        ({"gates": [{"metric": "AP50", "at_least": 0.5}, {"metric": "AP50", "at_least": 0.6}]}, "twice"),
        ({"gates": []}, "gates"),
        ({"gates": [{"metric": "AP50", "at_least": float("nan")}]}, "finite"),
        ({"gates": [{"metric": "AP50", "class": "sperm", "for_each": ["size"], "at_least": 0.5}]}, "only one of class"),
        ({"gates": [{"metric": m, "better_by": 0.0} for m in ("AP50", "AR")]}, "superiority is asked of one metric"),
        ({"approval": "perhaps"}, "expected none, required"),
        ({"approval": {"required": True, "timeout_h": 0}}, "timeout_h"),
        ({"line": "Bad Name"}, "line"),
        ({"recordings": {"studies": ["a", "b"], "except_studies": ["b"]}}, "both name b"),
    ],
)
def test_a_wrong_line_names_its_fault(change, complaint) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_line(SHIPPED | change, "x.yaml")


def test_an_unknown_line_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="sperm-detector"):
        load_line("spem-detector", LINES)


def test_faults_of_all_files_are_reported_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("line: a1b\n")
    (tmp_path / "b.yaml").write_text("kind: [")
    with pytest.raises(ConfigError) as caught:
        load_lines(tmp_path)
    assert "a.yaml" in str(caught.value) and "b.yaml" in str(caught.value)


def test_changes_for_one_run() -> None:
    line = load_line("sperm-detector", LINES)
    changed = line.with_changes({"seed": 7, "epochs": 3, "gate.AP50.sperm.at_least": 0.5})
    assert changed.recipe.seed == 7 and changed.recipe.changes["epochs"] == 3 and changed.gates[0].threshold == 0.5
    assert changed.fingerprint() != line.fingerprint() and line.with_changes({}).fingerprint() == line.fingerprint()
    with pytest.raises(ConfigError, match="AP51"):
        line.with_changes({"gate.AP51.at_least": 0.5})
    with pytest.raises(ConfigError, match="at_least"):
        line.with_changes({"gate.AP50.sperm.at_least": "high"})


def test_foreign_class_names_are_found_by_alias_ignoring_case() -> None:
    line = load_line("sperm-detector", LINES)
    assert (line.class_named("S"), line.class_named(" Impurity "), line.class_named("egg")) == (
        "sperm",
        "impurity",
        None,
    )


def test_environment_wins_over_the_stacks_file(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "settings.env").write_text(
        "NIGHTSCOPE_S3__ENDPOINT=http://127.0.0.1:1\nNIGHTSCOPE_S3__SECRET_KEY=hush\nNIGHTSCOPE_MLFLOW__URL=http://m\n"
    )
    monkeypatch.setenv("NIGHTSCOPE_MLFLOW__URL", "http://other")
    settings = load_settings(tmp_path)
    assert settings.s3.endpoint == "http://127.0.0.1:1" and settings.mlflow.url == "http://other"
    assert "hush" not in repr(settings), "a secret must not be printed with the settings"


def test_a_wrong_setting_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("NIGHTSCOPE_WORKERS", "many")
    with pytest.raises(ConfigError, match="workers"):
        load_settings(tmp_path)


def test_gate_ids_name_metric_class_and_condition() -> None:
    assert Gate.model_validate({"metric": "AR", "class": "sperm", "at_most": 1}).id == "AR.sperm.at_most"


def test_approval_in_a_word_or_as_a_plan() -> None:
    plans = [
        parse_line(SHIPPED | {"approval": approval}, "x").approval
        for approval in ("none", "required", {"required": True, "timeout_h": 1, "assigned_to": ["eva"]})
    ]
    assert [(plan.required, plan.timeout_h, plan.assigned_to) for plan in plans] == [
        (False, 72, ()), (True, 72, ()), (True, 1, ("eva",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gate", "gate_id", "where", "compares"),
    [
        ({"class": "sperm", "at_least": 0.6}, "AP50.sperm.at_least", "class.sperm", False),
        ({"slice": "size.small", "not_worse_by": 0.1}, "AP50.size.small.not_worse_by", "size.small", True),
        ({"for_each": ["class", "size"], "not_worse_by": 0.1}, "AP50.each-class-size.not_worse_by", None, True),
        ({"better_by": 0.0}, "AP50.better_by", None, True),
    ],
)
def test_a_gate_is_named_by_what_it_asks_and_where(gate, gate_id, where, compares) -> None:
    found = Gate.model_validate({"metric": "AP50", **gate})
    assert (found.id, found.where, found.compares) == (gate_id, where, compares)


def test_a_line_that_leaves_no_study_out_is_what_it_was_before_there_was_such_a_key() -> None:
    whole = parse_line({key: value for key, value in SHIPPED.items() if key != "recordings"}, "x.yaml")
    unsaid = {"max_training_h", "multi_label", "channels", "from_search"}
    data = whole.model_dump(mode="json", by_alias=True, exclude=unsaid)
    assert data["recordings"].pop("except_studies") == []
    assert whole.fingerprint() == digest(data) != parse_line(SHIPPED, "x.yaml").fingerprint()


def test_one_run_can_be_judged_otherwise() -> None:
    line = load_line("sperm-detector", LINES).with_changes({"evaluation.min_clusters": 9})
    assert line.evaluation.min_clusters == 9
    with pytest.raises(ConfigError, match=r"evaluation\.min_cluster"):
        load_line("sperm-detector", LINES).with_changes({"evaluation.min_cluster": 9})

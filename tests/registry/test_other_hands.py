"""What people do in MLflow by hand, against the real one: nothing of it is taken for ours, or for "not there"."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tasks.errors import ConfigError, DataError, NotFound, ServiceUnavailable
from tasks.registry import Registry
from tasks.registry.connection import connect
from tasks.registry.models import ABOUT
from tasks.registry.promotion import INTENT, PROMOTED_AT
from tasks.registry.runs import RUN_KEY, EpochMetrics
from tests.registry.making import about, make_version


@pytest.fixture
def line() -> str:
    return f"line-{uuid.uuid4().hex[:8]}"


def by_hand(registry: Registry, line: str, **tags: str) -> str:
    """A version that a person registers from the files of version 1, as MLflow's page does."""
    one = registry.client.get_model_version(line, "1")
    made = registry.client.create_model_version(
        line, source=one.source, run_id=one.run_id, model_id=str(one.source).split("/")[-1], tags=tags
    )
    return str(made.version)


def test_a_version_of_another_hand_called_champion_is_never_no_champion(
    registry: Registry, line: str, tmp_path: Path
) -> None:
    ours = make_version(registry, line, "a" * 64, tmp_path)
    registry.promote(line, ours.version, "verdict-1")
    foreign = by_hand(registry, line)
    registry.client.set_registered_model_alias(line, "champion", foreign)

    with pytest.raises(DataError, match=f"version {foreign} is called champion in MLflow without a verdict") as caught:
        registry.champion(line)
    assert not isinstance(caught.value, NotFound)
    assert "nightscope promote" in str(caught.value)
    assert [record.version for record in registry.versions(line)] == [ours.version], "one bad version blocks no list"


@pytest.mark.parametrize(
    "tags",
    [
        {ABOUT: "no JSON"},
        {ABOUT: "[" * 50_000},
        {ABOUT: '{"line": 7}'},
        {PROMOTED_AT: "yesterday"},
        {ABOUT: about("another-line", "a" * 64).model_dump_json()},
    ],
)
def test_tags_that_cannot_be_read_are_an_error_of_ours(
    registry: Registry, line: str, tmp_path: Path, tags: dict[str, str]
) -> None:
    ours = make_version(registry, line, "a" * 64, tmp_path)
    registry.promote(line, ours.version, "verdict-1")
    for key, value in tags.items():
        registry.client.set_model_version_tag(line, ours.version, key, value[:5000])
    with pytest.raises(DataError, match=f"version {ours.version} is called champion in MLflow without") as caught:
        registry.champion(line)
    assert not isinstance(caught.value, NotFound)


def test_a_strange_version_with_our_run_key_is_not_taken_for_the_model(
    registry: Registry, line: str, tmp_path: Path
) -> None:
    make_version(registry, line, "a" * 64, tmp_path)
    forged = by_hand(registry, line, **{RUN_KEY: "b" * 64})
    made = make_version(registry, line, "b" * 64, tmp_path)
    assert made.version not in {"1", forged}
    assert make_version(registry, line, "b" * 64, tmp_path) == made


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_another_stage_changes_nothing(registry: Registry, line: str, tmp_path: Path) -> None:
    ours = make_version(registry, line, "a" * 64, tmp_path)
    champion = registry.promote(line, ours.version, "verdict-1")
    registry.client.transition_model_version_stage(line, ours.version, "Archived")
    assert registry.champion(line) == champion


def test_a_version_without_a_run_is_not_ours(registry: Registry, line: str, tmp_path: Path) -> None:
    ours = make_version(registry, line, "a" * 64, tmp_path)
    source = str(registry.client.get_model_version(line, ours.version).source)
    registry.client.create_model_version(line, source=source, model_id=source.split("/")[-1])
    assert [record.version for record in registry.versions(line)] == [ours.version]
    with pytest.raises(DataError, match="was not registered by Nightscope"):
        registry.version(line, "2")


def test_a_deleted_experiment_is_restored(
    registry: Registry, line: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = make_version(registry, line, "a" * 64, tmp_path)
    registry.client.delete_experiment(registry.runs.experiment(line))
    second = make_version(registry, line, "b" * 64, tmp_path)
    assert "was deleted in MLflow; it is restored" in caplog.text
    assert make_version(registry, line, "a" * 64, tmp_path).version == first.version != second.version


def test_a_deleted_run_is_restored(registry: Registry, line: str, caplog: pytest.LogCaptureFixture) -> None:
    run = registry.runs.open(line, "k" * 64, name="run", tags={})
    registry.client.delete_run(run)
    assert registry.runs.open(line, "k" * 64, name="run", tags={}) == run
    assert f"run {run} was deleted in MLflow; it is restored" in caplog.text
    registry.client.delete_run(run)
    registry.runs.log_epochs(run, [EpochMetrics(epoch=1, at_ms=1, metrics={"AP50": 0.5})])
    assert registry.client.get_metric_history(run, "AP50")[0].value == 0.5
    registry.client.delete_experiment(registry.client.get_run(run).info.experiment_id)
    registry.runs.log_params(run, {"imgsz": 704})
    assert registry.client.get_run(run).data.params == {"imgsz": "704"}


def test_a_run_that_a_person_made_with_our_key_is_passed_over(registry: Registry, line: str) -> None:
    ours = registry.runs.open(line, "k" * 64, name="run", tags={})
    registry.client.create_run(registry.runs.experiment(line), tags={RUN_KEY: "k" * 64})
    assert registry.runs.open(line, "k" * 64, name="run", tags={}) == ours


def test_a_deleted_model_is_no_model_and_is_made_again(registry: Registry, line: str, tmp_path: Path) -> None:
    first = make_version(registry, line, "a" * 64, tmp_path)
    registry.promote(line, first.version, "verdict-1")
    registry.client.delete_registered_model(line)
    assert registry.champion(line) is None
    registry.settle(line)
    again = make_version(registry, line, "a" * 64, tmp_path)
    assert (again.promoted_at, again.aliases) == (None, ("challenger",))


@pytest.mark.parametrize("intent", ["no JSON", '{"version": "99", "follows": null, "verdict_id": null, "at": "x"}'])
def test_an_order_in_a_tag_is_crossed_out(
    registry: Registry, line: str, tmp_path: Path, intent: str, caplog: pytest.LogCaptureFixture
) -> None:
    ours = make_version(registry, line, "a" * 64, tmp_path)
    champion = registry.promote(line, ours.version, "verdict-1")
    registry.client.set_registered_model_tag(line, INTENT, intent)
    registry.settle(line)
    assert "is NOT carried out" in caplog.text
    assert registry.client.get_registered_model(line).tags == {}
    assert registry.champion(line) == champion


def test_a_server_that_knows_no_such_page_is_not_a_line_without_models(line: str, mlflow_url: str) -> None:
    elsewhere = f"{mlflow_url}/somewhere/else"
    with pytest.raises((ConfigError, ServiceUnavailable, DataError)) as caught:
        Registry(connect(elsewhere), elsewhere).champion(line)
    assert not isinstance(caught.value, NotFound)

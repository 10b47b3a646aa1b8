"""Collects what a decision rests on: data, models, and every object by its hash.

What should be there and is not (an old dataset version without a leak check's report), or is damaged, is written down
as missing: a promotion must not fail because of its past, and nobody may take a gap for a check. An object that cannot
be read is named only where its hash is known from elsewhere: the hash of damage would vouch for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from tasks.config import Line
from tasks.errors import ConfigError, TransportError
from tasks.evaluation.evaluation import load_evaluation
from tasks.evidence.bundle import DataEvidence, ModelEvidence, SearchEvidence
from tasks.evidence.collector import Collector
from tasks.lake import Lake, Manifest
from tasks.lake.denoisers import VERSION_NAME, denoiser_place
from tasks.lake.searches import asked as asked_of
from tasks.lake.searches import finished_trial, place_of
from tasks.registry.models import Registry
from tasks.registry.served import served_files, version_tags
from tasks.schemas import Oid, Recording, Verdict
from tasks.training.records import Trained, trained_key, without_signature

Served = Callable[[str], dict[str, Oid] | None]
"""Model version → the files of its model in MLflow, if an earlier bundle says so: they never change."""


def collect_data(found: Collector, line: str, version: str) -> DataEvidence | None:
    """A dataset version with its manifest, record, validation, leak checks and recordings."""
    short, store = version[:12], found.lake.store
    with found.part(f"manifest of dataset {short}"):
        found.thing(f"manifest of dataset {short}", f"datasets/{line}/{version}/manifest.parquet", version)
    evidence = None
    with found.part(f"dataset {short}"):
        key = f"datasets/{line}/{version}/about.json"
        manifest, about_sha256 = found.lake.datasets.load(line, version), store.rehash(key)[0]
        about, recordings = manifest.about, _recordings(manifest)
        evidence = DataEvidence(
            dataset_version=version,
            about_sha256=about_sha256,
            about=about,
            frames=manifest.rows.num_rows,
            recordings=recordings,
            groups=_groups(manifest),
        )
        found.thing(f"record of dataset {short}", key, about_sha256)
        frames = set(manifest.rows.column("frame_oid").to_pylist())
        named: tuple[tuple[str, tuple[str, ...], Any], ...] = (
            ("validation", ("result", "report", "dataset"), about.get("validation")),
            ("leak check", ("result", "report"), about.get("leak_check")),
        )
        for part, names, content in named:
            _collect_check(found, part, names, content, short, {*frames, *recordings})
        with found.part(f"newest leak check of dataset {short}"):
            again = _audited_again(found.lake, manifest)
            if again:
                _collect_check(found, "newest leak check", ("result", "report"), again, short, {*frames, *recordings})
        _collect_recordings(found, recordings)
    return evidence


def collect_verdict(found: Collector, verdict: Verdict) -> None:
    """A verdict's evaluation, predictions, report, and the line as it was judged."""
    for what, oid in (
        ("evaluation", verdict.evaluation_oid),
        ("report", verdict.report_oid),
        ("line as it was judged", verdict.line_oid),
    ):
        with found.part(what):
            found.blob(what, oid)
    with found.part("predictions"):
        evaluation = load_evaluation(found.lake, verdict.evaluation_oid)
        for result in filter(None, (evaluation.challenger, evaluation.champion)):
            found.blob(f"predictions of model version {result.model.model_version}", result.predictions_oid)


def collect_search(found: Collector, line: Line | None) -> SearchEvidence | None:
    """Collect the trial of a search whose values a line has, as it was judged; None: it names none.

    Args:
        found: Names the trial's record.
        line: As it was judged, if that is known.
    """
    if line is None or line.from_search is None:
        return None
    evidence = None
    with found.part(f"trial {line.from_search}"):
        trial = finished_trial(found.lake, line.line, line.from_search)
        asked, key = asked_of(found.lake, line.line, line.from_search), place_of(line.line, line.from_search)
        values = trial["changes"]
        sha256 = found.lake.store.rehash(key)[0]
        evidence = SearchEvidence(
            trial=line.from_search,
            key=key,
            sha256=sha256,
            metric=f"{asked['metric']} of {asked['where']}" if asked["where"] else asked["metric"],
            value=trial["value"],
            trials=asked["trials"],
            dataset_version=asked["of"],
            values=values,
            same_values=_has(line, values),
        )
        found.thing(f"trial {line.from_search}", key, sha256)
    return evidence


def _has(line: Line, values: Mapping[str, Any]) -> bool:
    """Whether a line has these values already: to change it so changes nothing."""
    try:
        return line.with_changes(values) == line
    except ConfigError:  # it has no such gate any more
        return False


def collect_apart(found: Collector, line: str, version: str, champion: ModelEvidence) -> None:
    """Collect the leak check of the test split against what the champion learned from, unless both are one version."""
    from tasks.leakage import filed
    from tasks.leakage.apart import learned_and_tested

    if champion.dataset_version == version:
        return
    part = "leak check against the champion"
    with found.part(f"{part} of dataset {version[:12]}"):
        learned, tested = (found.lake.datasets.load(line, one).rows for one in (champion.dataset_version, version))
        rows = learned_and_tested(learned, tested)
        known = filed(found.lake, line, rows)
        if known:
            beside = {*rows.column("frame_oid").to_pylist(), *rows.column("recording_id").to_pylist()}
            _collect_check(found, part, ("result", "report"), known, version[:12], beside)


def collect_model(
    found: Collector, registry: Registry, line: str, version: str, served: Served
) -> ModelEvidence | None:
    """A model version with its weights, its training and what MLflow serves of it."""
    evidence = None
    with found.part(f"model version {version}"):
        record = registry.version(line, version)
        files = served(version) or served_files(registry, line, version)
        about = record.about
        tags = version_tags(registry, line, version)
        with found.part(f"weights of model version {version}"):
            found.blob(f"weights of model version {version}", about.weights_oid)
        evidence = ModelEvidence(
            model_version=version,
            weights_oid=about.weights_oid,
            dataset_version=about.dataset_version,
            run_key=about.run_key,
            mlflow_run=record.mlflow_run,
            registered=about.model_dump(mode="json"),
            tags=tags,
            served=files,
            training=_collect_training(found, version, trained_key(about.run_key)),
        )
    return evidence


def _collect_check(
    found: Collector, part: str, names: tuple[str, ...], content: dict[str, Any] | None, short: str, beside: set[Oid]
) -> None:
    """What a validation or a leak check left: the blobs it names, and those that its result names."""
    oids = {name: (content or {}).get(f"{name}_oid") for name in names}
    for name, oid in oids.items():
        with found.part(f"{part}'s {name} of dataset {short}"):
            found.blob(f"{part}'s {name} of dataset {short}", oid)
    result = oids["result"]
    with found.part(f"what the {part}'s result of dataset {short} names"):
        if result and found.lake.blobs.exists(result):
            inside = json.loads(found.lake.blobs.get_bytes(result))
            found.named_by(f"the {part} of dataset {short}", inside, beside)


def _audited_again(lake: Lake, manifest: Manifest) -> dict[str, Any] | None:
    """The leak check by this code and with today's clears, where the dataset version was frozen after another one."""
    from tasks.leakage import filed

    again = filed(lake, manifest.line, manifest.rows)
    frozen_after = (manifest.about.get("leak_check") or {}).get("result_oid")
    return again if again and again["result_oid"] != frozen_after else None


def _collect_recordings(found: Collector, recordings: dict[Oid, str]) -> None:
    for oid, name in recordings.items():
        with found.part(f"recording {name}"):
            found.blob(f"recording {name}", oid)
    try:
        rows = found.lake.tables.rows("recordings", Recording, {"recording_id": list(recordings)})
    except TransportError:
        raise
    except Exception as error:  # a damaged Parquet, Avro or JSON file may raise anything
        found.missing.append(f"frame times of {len(recordings)} recordings ({error!r})")
        return
    for row in rows:
        with found.part(f"frame times of recording {row.name}"):
            found.blob(f"frame times of recording {row.name}", row.pts_oid)


def _collect_training(found: Collector, version: str, key: str) -> dict[str, Any] | None:
    """A training record without the epochs' history; None where there is none that can be read."""
    training: dict[str, Any] | None = None
    with found.part(f"training record of model version {version}"):
        data = found.lake.store.get_bytes(key)
        content: dict[str, Any] = json.loads(data)
        fields = without_signature(content)
        Trained.model_validate(fields)
        training = {name: value for name, value in fields.items() if name != "history"}
        found.thing(f"training record of model version {version}", key, hashlib.sha256(data).hexdigest())
        with found.part(f"checkpoint of model version {version}"):
            found.blob(f"checkpoint of model version {version}", training.get("checkpoint_oid"))
        _collect_denoiser(found, version, training)
        for name, oid in sorted(training.get("files", {}).items()):
            with found.part(f"{name} of model version {version}"):
                found.blob(f"{name} of model version {version}", oid)
    return training


def _collect_denoiser(found: Collector, version: str, training: Mapping[str, Any]) -> None:
    """The denoiser that a model carries, and the record of how it was trained, if it is a version of its own."""
    if oid := training.get("setup", {}).get("denoiser_oid"):
        found.blob(f"denoiser of model version {version}", oid)
        with found.part(f"record of the denoiser of model version {version}"):
            named = str(training["recipe"]["arguments"].get("denoiser"))
            if VERSION_NAME.fullmatch(named):
                place = denoiser_place(named)
                found.thing(
                    f"record of the denoiser of model version {version}", place, found.lake.store.rehash(place)[0]
                )


def _recordings(manifest: Manifest) -> dict[Oid, str]:
    columns = (manifest.rows.column(name).to_pylist() for name in ("recording_id", "recording_name"))
    return dict(sorted(zip(*columns, strict=True)))


def _groups(manifest: Manifest) -> dict[str, int]:
    pairs = set(zip(*(manifest.rows.column(name).to_pylist() for name in ("split", "group")), strict=True))
    return {split: sum(1 for own, _ in pairs if own == split) for split in sorted({split for split, _ in pairs})}

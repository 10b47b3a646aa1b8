"""Collects what a decision rests on: data, models, and every object by its hash.

What should be there and is not (an old dataset version without a leak check's report) is written down as missing: a
promotion must not fail because its past is incomplete, and nobody may take a gap for a check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tasks.errors import DataError, NotFound
from tasks.evaluation.evaluation import load_evaluation
from tasks.evidence.bundle import DataEvidence, ModelEvidence, Named
from tasks.lake import Lake, Manifest
from tasks.registry.models import Registry
from tasks.registry.served import served_files, version_tags
from tasks.schemas import Oid, Recording, Verdict
from tasks.training.records import trained_key

_OID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
Served = Callable[[str], dict[str, Oid] | None]
"""Model version → the files of its model in MLflow, if an earlier bundle says so: they never change."""


class Gatherer:
    """Names objects, each once, and remembers what was not there.

    Args:
        lake: Where they are.
    """

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.missing: list[str] = []
        self._wanted: dict[str, tuple[str, Oid | None]] = {}

    def blob(self, what: str, oid: object) -> None:
        """A blob; None is written down as missing."""
        if oid is None:
            self.missing.append(what)
        else:
            self._wanted.setdefault(self.lake.blobs.key(str(oid)), (what, str(oid)))

    def thing(self, what: str, key: str) -> None:
        """Another object of the lake's bucket; hashed as it is now."""
        self._wanted.setdefault(key, (what, None))

    def named_by(self, what: str, content: Any, beside: Iterable[Oid]) -> None:
        """Every other blob that a JSON value names, `beside` the ones that are named elsewhere."""
        known = {*beside, *(key.rpartition("/")[2] for key in self._wanted)}
        found = sorted(set(_OID.findall(json.dumps(content))) - known)
        with ThreadPoolExecutor(self.lake.settings.workers * 4) as threads:
            for oid, there in zip(found, threads.map(self.lake.blobs.exists, found), strict=True):
                if there:
                    self.blob(f"named by {what}", oid)

    def named(self) -> tuple[Named, ...]:
        """All of them, with hash and size."""
        with ThreadPoolExecutor(self.lake.settings.workers * 4) as threads:
            found = list(threads.map(self._look, self._wanted.items()))
        return tuple(sorted((one for one in found if one is not None), key=lambda one: one.key))

    def _look(self, item: tuple[str, tuple[str, Oid | None]]) -> Named | None:
        key, (what, oid) = item
        if oid is None:
            try:
                oid, size_bytes = self.lake.store.rehash(key)
            except NotFound:
                self.missing.append(what)
                return None
            return Named(what=what, key=key, sha256=oid, size_bytes=size_bytes)
        info = self.lake.store.head(key)
        if info is None:
            self.missing.append(what)
            return None
        return Named(what=what, key=key, sha256=oid, size_bytes=info.size_bytes)


def gather_data(found: Gatherer, line: str, version: str) -> DataEvidence | None:
    """A dataset version with its manifest, record, validation, leak check and recordings."""
    short = version[:12]
    try:
        manifest = found.lake.datasets.load(line, version)
    except DataError as error:
        found.missing.append(f"dataset {short} ({error})")
        return None
    about = manifest.about
    found.thing(f"manifest of dataset {short}", f"datasets/{line}/{version}/manifest.parquet")
    found.thing(f"record of dataset {short}", f"datasets/{line}/{version}/about.json")
    for part, names in (("validation", ("result", "report", "dataset")), ("leak_check", ("result", "report"))):
        for name in names:
            what = f"{part.replace('_', ' ')}'s {name} of dataset {short}"
            found.blob(what, (about.get(part) or {}).get(f"{name}_oid"))
    frames = set(manifest.rows.column("frame_oid").to_pylist())
    recordings = _recordings(manifest)
    for part in ("validation", "leak_check"):
        result = (about.get(part) or {}).get("result_oid")
        if result and found.lake.blobs.exists(result):
            content = json.loads(found.lake.blobs.get_bytes(result))
            found.named_by(f"the {part.replace('_', ' ')} of dataset {short}", content, {*frames, *recordings})
    for oid, name in recordings.items():
        found.blob(f"recording {name}", oid)
    for row in found.lake.tables.rows("recordings", Recording, {"recording_id": list(recordings)}):
        found.blob(f"frame times of recording {row.name}", row.pts_oid)
    return DataEvidence(
        dataset_version=version,
        about_sha256=found.lake.store.rehash(f"datasets/{line}/{version}/about.json")[0],
        about=about,
        frames=manifest.rows.num_rows,
        recordings=recordings,
        groups=_groups(manifest),
    )


def gather_verdict(found: Gatherer, verdict: Verdict) -> None:
    """A verdict's evaluation, predictions, report, and the line as it was judged."""
    found.blob("evaluation", verdict.evaluation_oid)
    found.blob("report", verdict.report_oid)
    found.blob("line as it was judged", verdict.line_oid)
    try:
        evaluation = load_evaluation(found.lake, verdict.evaluation_oid)
    except DataError as error:
        found.missing.append(f"predictions ({error})")
        return
    for result in filter(None, (evaluation.challenger, evaluation.champion)):
        found.blob(f"predictions of model version {result.model.model_version}", result.predictions_oid)


def gather_model(found: Gatherer, registry: Registry, line: str, version: str, served: Served) -> ModelEvidence | None:
    """A model version with its weights, its training and what MLflow serves of it."""
    try:
        record = registry.version(line, version)
        files = served(version) or served_files(registry, line, version)
    except NotFound as error:
        found.missing.append(f"model version {version} ({error})")
        return None
    about = record.about
    found.blob(f"weights of model version {version}", about.weights_oid)
    key = trained_key(about.run_key)
    found.thing(f"training record of model version {version}", key)
    training = None
    if found.lake.store.head(key):
        training = json.loads(found.lake.store.get_bytes(key))
        training.pop("history", None)
        found.blob(f"checkpoint of model version {version}", training.get("checkpoint_oid"))
        for name, oid in sorted(training.get("files", {}).items()):
            found.blob(f"{name} of model version {version}", oid)
    return ModelEvidence(
        model_version=version,
        weights_oid=about.weights_oid,
        dataset_version=about.dataset_version,
        run_key=about.run_key,
        mlflow_run=record.mlflow_run,
        registered=about.model_dump(mode="json"),
        tags=version_tags(registry, line, version),
        served=files,
        training=training,
    )


def _recordings(manifest: Manifest) -> dict[Oid, str]:
    columns = (manifest.rows.column(name).to_pylist() for name in ("recording_id", "recording_name"))
    return dict(sorted(zip(*columns, strict=True)))


def _groups(manifest: Manifest) -> dict[str, int]:
    pairs = set(zip(*(manifest.rows.column(name).to_pylist() for name in ("split", "group")), strict=True))
    return {split: sum(1 for own, _ in pairs if own == split) for split in sorted({split for split, _ in pairs})}

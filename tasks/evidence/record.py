"""Writes one bundle: collect, store the card, store the bundle, append its row, seal. Last comes what MLflow shows.

Killed anywhere and called again, it ends with one entry: a row that is there is left alone, and what comes after it is
done again. Two processes at once, on one machine or two, make one chain: the row's number is taken once.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tasks.config import Line, parse_line
from tasks.errors import ConfigError, DataError, NightscopeError, StorageUnavailable, TransportError
from tasks.evaluation.evaluation import Evaluation, load_evaluation
from tasks.evidence import chain, heads, model_card
from tasks.evidence.bundle import Action, Bundle, DataEvidence, ModelEvidence, Named, SearchEvidence
from tasks.evidence.code import code_now
from tasks.evidence.collect import collect_apart, collect_data, collect_model, collect_search, collect_verdict
from tasks.evidence.collector import Collector
from tasks.known_kinds import known_kinds
from tasks.lake import Lake
from tasks.lake.keys import signing_key
from tasks.lake.locks import lake_lock
from tasks.lake.signed import sign
from tasks.registry.models import Registry
from tasks.registry.served import EVIDENCE, describe, version_tags
from tasks.schemas import Aliases, Answer, EvidenceEntry, NightState, Oid, Recording, Verdict, now

_ATTEMPTS = 20
MARKDOWN = "text/markdown; charset=utf-8"


def record(
    lake: Lake,
    registry: Registry,
    *,
    line: str,
    action: Action,
    key: str,
    outcome: NightState,
    verdict: Verdict | None,
    model_version: str | None,
    before: Aliases,
    after: Aliases,
    answer: Answer | None = None,
    by: str | None = None,
    asked_by: str | None = None,
    note: str = "",
    override: bool = False,
) -> EvidenceEntry:
    """Add to a line's evidence, once for each (line, action, key). What is there already is returned as it is.

    Args:
        lake: Where the bundle goes.
        registry: What is recorded of the models, and where people will see it.
        line: Whose.
        action: What was done.
        key: A night's verdict id; an id of a person's request, made when it was made.
        outcome: How it ended.
        verdict: What it rests on; None: a model that was never judged.
        model_version: Whose evidence it is.
        before, after: The registry's aliases.
        answer: Of the person who was asked, if one was.
        by: The person who did it.
        asked_by: The person who triggered it; None: the clock.
        note: Their reason.
        override: Whether a verdict was set aside.

    Raises:
        StorageUnavailable, ServiceUnavailable: Try again: nothing is recorded twice.
        ConfigError: It cannot be signed; says why.
    """
    evidence_id = chain.evidence_id(line, action, key)
    with lake_lock(lake.settings, f"evidence-{line}"):
        for attempt in range(_ATTEMPTS):
            links = chain.entries(lake, line)  # one look: who is there already, and which number is next
            entry = next((link for link in links if link.evidence_id == evidence_id), None)
            lost = heads.note(lake.settings, line, links)
            if entry is None:
                found, sealed = Collector(lake), chain.seal_before(lake, line, links)
                found.missing += [f"evidence {one.number}, bundle {one.bundle_oid}, which was there" for one in lost]
                data, models = _basis(found, registry, line, verdict, model_version, links)
                searched = _searched(found, verdict)
                draft = Bundle(
                    evidence_id=evidence_id,
                    line=line,
                    number=len(links) + 1,
                    previous=links[-1].bundle_oid if links else None,
                    seal=sealed,
                    made_at=now(),
                    action=action,
                    key=key,
                    outcome=outcome,
                    model_version=model_version,
                    verdict=verdict,
                    approval=answer,
                    by=by or (answer.by if answer else None),
                    asked_by=asked_by,
                    note=note or (answer.note if answer else ""),
                    override=override,
                    before=before,
                    after=after,
                    data=data,
                    models=models,
                    code=code_now(_kind(models)),
                    search=searched,
                    signer=signing_key(lake.settings)[1],
                    card_oid=None,
                    objects=found.named(),  # before `missing`, which it adds to
                    missing=tuple(sorted(found.missing)),
                )
                entry = _append(lake, _with_card(lake, draft))
            if entry is not None:
                head = links[-1] if links and links[-1].number > entry.number else entry
                heads.note(
                    lake.settings, line, links if entry in links else [*links, entry],
                    entry.number if entry.signature else None,
                )  # fmt: skip
                chain.seal(lake, line, head)
                with suppress(DataError):  # the card or the version is gone: `verify` says so
                    _show(lake, registry, entry)
                return entry
            time.sleep(random.uniform(0.01, 0.05 * (attempt + 1)))
    raise StorageUnavailable(f"evidence of line {line}: {_ATTEMPTS} others in a row were recorded first")


def _append(lake: Lake, bundle: Bundle) -> EvidenceEntry | None:
    """Store a bundle and make it part of the chain; None where another has taken its number."""
    oid = lake.blobs.put_bytes(bundle.encoded(), "application/json")
    entry = bundle.entry(oid, sign(lake.settings, bundle.statement(oid)))
    return entry if lake.tables.append(chain.TABLE, [entry], key=("line", "number")) else None


def _basis(
    found: Collector,
    registry: Registry,
    line: str,
    verdict: Verdict | None,
    model_version: str | None,
    links: list[EvidenceEntry],
) -> tuple[DataEvidence | None, dict[str, ModelEvidence]]:
    """`data` and `models` of a bundle."""
    roles: dict[str, str] = {}
    if verdict:
        collect_verdict(found, verdict)
        roles["challenger"] = verdict.model_version
        if verdict.champion_version:
            roles["champion"] = verdict.champion_version
    if model_version and model_version not in roles.values():
        roles["subject"] = model_version
    models: dict[str, ModelEvidence] = {}
    for role, version in roles.items():
        model = collect_model(found, registry, line, version, lambda v: _served_before(found.lake, links, v))
        if model:
            models[role] = model
    if verdict and "champion" in models:
        collect_apart(found, line, verdict.dataset_version, models["champion"])
    dataset = verdict.dataset_version if verdict else next((m.dataset_version for m in models.values()), None)
    return (collect_data(found, line, dataset) if dataset else None), models


def _searched(found: Collector, verdict: Verdict | None) -> SearchEvidence | None:
    """The search that the challenger's values come from, if its line as it was judged names one."""
    evidence = None
    with suppress(DataError, ConfigError):  # a line that cannot be read is missing already
        evidence = collect_search(found, judged_line(found.lake, verdict))
    return evidence


def _served_before(lake: Lake, links: list[EvidenceEntry], version: str) -> dict[str, Oid] | None:
    """What the newest bundle about a version says of its files in MLflow: they never change, or `verify` complains."""
    for link in reversed(links):
        if link.model_version == version:
            try:
                models = chain.load(lake, link.bundle_oid).models.values()
            except NightscopeError:  # a damaged past is found by `verify`; it must not stop the present
                return None
            return next((one.served for one in models if one.model_version == version), None)
    return None


def _with_card(lake: Lake, draft: Bundle) -> Bundle:
    """The bundle with its model card."""
    if draft.model_version is None:
        return draft
    wanted = list(draft.data.recordings) if draft.data else []
    try:
        recordings = lake.tables.rows("recordings", Recording, {"recording_id": wanted})
        data = model_card.render(draft, *_basis_of_card(lake, draft), recordings).encode()
    except TransportError:
        raise
    except Exception as error:  # of damaged records, whose values may be anything: what happened is recorded without it
        return draft.model_copy(update={"missing": (*draft.missing, f"model card ({error!r})")})
    oid = lake.blobs.put_bytes(data, MARKDOWN)
    card = Named(what="model card", key=lake.blobs.key(oid), sha256=oid, size_bytes=len(data))
    return draft.model_copy(update={"card_oid": oid, "objects": (*draft.objects, card)})


def _kind(models: Mapping[str, ModelEvidence]) -> str | None:
    """The kind of the line's models, if it is still there."""
    registered = next((str(model.registered.get("kind")) for model in models.values()), "")
    return registered if registered in known_kinds() else None


def judged_line(lake: Lake, verdict: Verdict | None) -> Line | None:
    """The line as a verdict judged it; None where that was not kept.

    Raises:
        NotFound, IntegrityError: It was, and is gone or changed.
        ConfigError: This code refuses what was a line then.
    """
    if verdict is None or verdict.line_oid is None:
        return None
    return parse_line(json.loads(lake.blobs.get_bytes(verdict.line_oid)), f"line of verdict {verdict.verdict_id}")


def _basis_of_card(lake: Lake, bundle: Bundle) -> tuple[Line | None, Evaluation | None]:
    """How the bundle's model was judged, as far as it can still be read: a card is written in any case."""
    verdict = bundle.verdict
    if verdict is None or verdict.model_version != bundle.model_version:
        return None, None
    line, evaluation = None, None
    with suppress(DataError, ConfigError):
        line = judged_line(lake, verdict)
    with suppress(DataError):
        evaluation = load_evaluation(lake, verdict.evaluation_oid)
    return line, evaluation


def _show(lake: Lake, registry: Registry, entry: EvidenceEntry) -> None:
    """Put the card where people look, and the bundle's oid where it is kept outside the lake."""
    bundle = chain.load(lake, entry.bundle_oid)
    model = next((one for one in bundle.models.values() if one.model_version == bundle.model_version), None)
    if model is None or bundle.card_oid is None:
        return
    pinned = f"{entry.number} {entry.bundle_oid}"
    known = version_tags(registry, bundle.line, model.model_version).get(EVIDENCE, "")
    number = known.partition(" ")[0]
    if known == pinned or (number.isdecimal() and int(number) > entry.number):  # a repetition, after others came
        return
    with tempfile.TemporaryDirectory(prefix="nightscope-") as folder:
        card = Path(folder) / "card.md"
        card.write_bytes(lake.blobs.get_bytes(bundle.card_oid))
        describe(
            registry,
            bundle.line,
            model.model_version,
            run_id=model.mlflow_run,
            card=card,
            summary=model_card.summary(bundle, entry.bundle_oid, _basis_of_card(lake, bundle)[1]),
            tags={EVIDENCE: pinned},
        )

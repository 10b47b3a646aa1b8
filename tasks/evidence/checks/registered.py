"""Does MLflow still serve what was judged, and is that in charge which was put in charge?"""

from __future__ import annotations

from tasks.errors import DataError, NotFound, ServiceUnavailable
from tasks.escaping import plain_text
from tasks.evidence.bundle import Bundle, ModelEvidence
from tasks.evidence.checks.findings import Cause, Findings
from tasks.lake import Lake
from tasks.registry.exports import TAG as EXPORT
from tasks.registry.models import Registry
from tasks.registry.promotion import INTENT
from tasks.registry.served import EVIDENCE, ordered_by_tag, served_card, served_files, tagged, version_tags
from tasks.schemas import Aliases, Oid

_SERVED_WEIGHTS = ".pt"


def read_pins(registry: Registry, line: str, found: Findings) -> dict[str, tuple[int, Oid]]:
    """The bundles that tags of the line's model versions name: where → number and oid."""
    pins = {}
    for version, text in tagged(registry, line, EVIDENCE).items():
        where = f"tag {EVIDENCE} of model version {version} in MLflow"
        number, _, oid = text.partition(" ")
        if number.isdecimal() and len(oid) == 64:
            pins[where] = (int(number), oid)
        else:
            found.add(where, "a number and an oid", text, "moved")
    return pins


def check_aliases(newest: Bundle, now: Aliases, unfinished: str | None, found: Findings) -> None:
    """Compare who is in charge with what the newest bundle says.

    A challenger that was registered since is the beginning of a night, and fine.

    Args:
        newest: The last bundle of the whole chain.
        now: The aliases as they are.
        unfinished: What was begun and broken off, if anything was: the next night finishes and records it.
        found: Hears what is wrong.
    """
    named = (newest.model_version, *newest.before.model_dump().values(), *newest.after.model_dump().values())
    known = max((int(version) for version in named if version), default=0)
    for alias in ("champion", "previous", "challenger"):
        wanted, there = getattr(newest.after, alias), getattr(now, alias)
        registered_since = there is not None and int(there) > known and there != now.champion
        if wanted == there or (alias == "challenger" and registered_since):
            continue
        hint = f"; {unfinished}" if unfinished else "; moved by hand, without evidence"
        thing = f"alias {alias} of {newest.line} in MLflow"
        expected = f"version {wanted}" if wanted else "no version"
        found.add(thing, expected, f"{f'version {there}' if there else 'no version'}{hint}", "moved", [newest.number])
    found.count("aliases", 3)


def check_tag(registry: Registry, line: str, found: Findings) -> None:
    """Name a tag that looks like an order to move aliases: nobody here writes such tags."""
    order = ordered_by_tag(registry, line)
    if order is not None:
        thing = f"tag {INTENT} of {line} in MLflow, which is not carried out"
        found.add(thing, "no order in a tag: orders are signed, in the lake", plain_text(order, 200), "signature")


def check_models(
    lake: Lake, registry: Registry, bundles: list[Bundle], last: dict[str, Bundle], found: Findings
) -> None:
    """Compare what MLflow holds of each model version with what the bundles say.

    Args:
        lake: Where the records are that tags name.
        registry: MLflow.
        bundles: Whose models.
        last: Model version → its newest bundle, whose tags must stand.
        found: Hears what is wrong.
    """
    models: dict[str, tuple[ModelEvidence, list[int]]] = {}
    for bundle in bundles:
        for model in bundle.models.values():
            models.setdefault(model.model_version, (model, []))[1].append(bundle.number)
    for version, (model, numbers) in models.items():
        line = bundles[0].line
        try:
            _check_files(registry, line, model, numbers, found)
            now = version_tags(registry, line, version)
            _check_tags(lake, registry, now, model, last.get(version), found)
            _check_exports(lake, version, now, numbers, found)
        except NotFound as error:
            found.add(f"model version {version} in MLflow", "what was registered", str(error), "missing", numbers)
        except (DataError, ServiceUnavailable) as error:
            cause: Cause = "unanswered" if isinstance(error, ServiceUnavailable) else "changed"
            found.add(f"model version {version} in MLflow", "an answer", str(error), cause, numbers)
        found.count("model versions")


def _check_files(registry: Registry, line: str, model: ModelEvidence, numbers: list[int], found: Findings) -> None:
    version = model.model_version
    now = served_files(registry, line, version)
    for name, oid in model.served.items():
        thing = f"{name} of model version {version} in MLflow"
        if name not in now:
            found.add(thing, f"sha256 {oid}", "no such file", "missing", numbers)
        elif now[name] != oid:
            found.add(thing, f"sha256 {oid}", now[name], "changed", numbers)
    strange = sorted(now.keys() - model.served.keys())
    if strange:
        found.note(f"model version {version} has files in MLflow that came after its evidence: {', '.join(strange)}")
    weights = [oid for name, oid in model.served.items() if name.endswith(_SERVED_WEIGHTS)]
    if weights and model.weights_oid not in weights:
        thing = f"weights of model version {version}: in MLflow, and as they were judged"
        found.add(thing, model.weights_oid, ", ".join(weights), "changed", numbers)
    found.count("files in MLflow", len(model.served))


def _check_tags(
    lake: Lake, registry: Registry, now: dict[str, str], model: ModelEvidence, last: Bundle | None, found: Findings
) -> None:
    """Tags, and the card, of a version's newest bundle. An export may be made again: its tag is no part of these."""
    version = model.model_version
    own = next((one for one in last.models.values() if one.model_version == version), model) if last else model
    for name, value in own.tags.items():
        if name != EVIDENCE and not name.startswith(EXPORT) and last and now.get(name) != value:
            thing = f"tag {name} of model version {version} in MLflow"
            found.add(thing, value, now.get(name, "no such tag"), "moved", [last.number])
    if last is None or last.card_oid is None:
        return
    card = served_card(registry, own.mlflow_run)
    if card != last.card_oid and (card is None or card != lake.tombstones.replacement(last.card_oid)):
        thing = f"model card of model version {version} in MLflow"
        cause: Cause = "missing" if card is None else "changed"
        found.add(thing, f"sha256 {last.card_oid}", card or "none", cause, [last.number])


def _check_exports(lake: Lake, version: str, tags: dict[str, str], numbers: list[int], found: Findings) -> None:
    """The record that an export's tag names."""
    for name, oid in sorted(tags.items()):
        if not name.startswith(EXPORT):
            continue
        thing = f"record that tag {name} of model version {version} in MLflow names"
        try:
            there = lake.store.rehash(lake.blobs.key(oid))[0]
        except DataError as error:
            found.add(thing, f"sha256 {oid}", str(error), "missing", numbers)
            continue
        if there != oid:
            found.add(thing, f"sha256 {oid}", there, "changed", numbers)
        found.count("exports")

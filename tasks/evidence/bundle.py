"""The nouns of the evidence: one bundle for each verdict, promotion and rollback.

A bundle is one canonical-JSON blob. It says what was decided, by whom and from what; names every object that this rests
on by its sha256; and names the bundle before it. Whoever holds the newest bundle's oid holds the whole history: no
bundle, and nothing that one names, can be changed without changing it. Its signature stands in its table row.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, ValidationError

from tasks.errors import IntegrityError
from tasks.lake.signed import Statement, bundle_statement
from tasks.schemas import (
    Aliases,
    Answer,
    EvidenceEntry,
    Frozen,
    NightState,
    Oid,
    Signature,
    Verdict,
    canonical_json,
)

SCHEMA_VERSION = 3
SIGNING = 3
"""The first schema version whose bundles are signed."""
Action = Literal["night", "promotion", "rollback"]


class Named(Frozen):
    """An object of the lake's bucket that the decision rests on."""

    what: str = Field(description="For people: 'weights of model version 3'.")
    key: str = Field(description="In the lake's bucket; a blob's ends in its sha256.")
    sha256: Oid
    size_bytes: int = Field(ge=0)


class DataEvidence(Frozen):
    """The dataset version that was trained on or judged by."""

    dataset_version: Oid = Field(description="The manifest's sha256.")
    about_sha256: Oid
    about: dict[str, Any] = Field(
        description="What it was made from: validation, table snapshots, leak check, splits by group, counts."
    )
    frames: int
    recordings: dict[Oid, str] = Field(description="Oid → name.")
    groups: dict[str, int] = Field(description="Split → donors, else recordings.")


class ModelEvidence(Frozen):
    """One model version: where its weights are, and how they came about."""

    model_version: str
    weights_oid: Oid
    dataset_version: Oid
    run_key: str
    mlflow_run: str
    registered: dict[str, Any] = Field(description="What the registry's tag says of how to use it.")
    tags: dict[str, str] = Field(description="The version's tags in MLflow when this was recorded.")
    served: dict[str, Oid] = Field(description="The files of its model in MLflow, and their sha256.")
    training: dict[str, Any] | None = Field(
        description="Its training record without the epochs' history: recipe, seed, code, git, lock, libraries, "
        "hardware, checkpoint, operations that are not deterministic. None: the lake has none."
    )


class SearchEvidence(Frozen):
    """The trial of a hyperparameter search whose values the challenger's recipe has."""

    trial: str = Field(description="'<search>#<number>'.")
    key: str = Field(description="Of the trial's signed record, in the lake's bucket.")
    sha256: Oid
    metric: str
    value: float = Field(description="Of the metric, on the validation split of `dataset_version`.")
    trials: int = Field(description="Of how many it was chosen, at most.")
    dataset_version: Oid = Field(description="Of the night whose training and validation frames were searched on.")
    values: dict[str, Any] = Field(description="The trial's, as they changed the line.")
    same_values: bool = Field(description="Whether the line as it was judged has exactly these.")


class CodeEvidence(Frozen):
    """What judged, and on what."""

    judging: Oid = Field(description="Digest of the sources of gates and metrics, numpy and scipy.")
    training: str = Field(description="`tasks.provenance.code_version`, when this was recorded.")
    git_commit: str | None
    git_dirty: bool | None
    lock_sha256: Oid | None
    python: str
    platform: str
    libraries: dict[str, str]


class Bundle(Frozen):
    """One link of the chain."""

    schema_version: int = SCHEMA_VERSION
    evidence_id: str
    line: str
    number: int = Field(ge=1)
    previous: Oid | None = Field(description="The bundle before it; None for the first.")
    seal: Oid | None = Field(
        default=None, description="Sha256 of the line's seal when this was recorded; None: it was lost or broken."
    )
    made_at: datetime
    action: Action
    key: str = Field(description="What was carried out: a verdict's id, or that of a person's request.")
    outcome: NightState
    model_version: str | None
    verdict: Verdict | None = Field(description="Decision, reasons, gates, all metrics and intervals.")
    approval: Answer | None
    by: str | None
    asked_by: str | None = Field(default=None, description="Who triggered it; None: the clock, or nobody knows.")
    note: str
    override: bool = Field(description="Whether a person set a verdict aside.")
    before: Aliases
    after: Aliases
    data: DataEvidence | None
    models: dict[str, ModelEvidence] = Field(description="challenger, champion; subject: who a person put in charge.")
    code: CodeEvidence
    search: SearchEvidence | None = Field(
        default=None, description="Where the recipe's values were found; None: not by a search."
    )
    signer: str | None = Field(default=None, description="Fingerprint of the key that signs this bundle.")
    card_oid: Oid | None
    objects: tuple[Named, ...]
    missing: tuple[str, ...] = Field(description="What should be named above, and was not there any more.")

    def statement(self, oid: Oid) -> Statement:
        """What its signature vouches for."""
        return bundle_statement(self.line, self.evidence_id, self.number, oid)

    def entry(self, oid: Oid, signature: Signature | None = None) -> EvidenceEntry:
        """Its row in the table."""
        return EvidenceEntry(
            evidence_id=self.evidence_id,
            line=self.line,
            number=self.number,
            bundle_oid=oid,
            previous_oid=self.previous,
            action=self.action,
            outcome=self.outcome,
            verdict_id=self.verdict.verdict_id if self.verdict else None,
            model_version=self.model_version,
            by=self.by,
            note=self.note,
            at=self.made_at,
            signature=signature,
        )

    def encoded(self) -> bytes:
        """The bytes whose sha256 is its oid."""
        return canonical_json(self.model_dump(mode="json", by_alias=True)).encode()


def decode(data: bytes, oid: Oid) -> Bundle:
    """A bundle from its bytes.

    Raises:
        IntegrityError: They are no bundle of a version that this code knows.
    """
    try:
        content = json.loads(data)
        if isinstance(content, dict) and content.get("schema_version", 0) > SCHEMA_VERSION:
            raise IntegrityError(
                f"evidence bundle {oid}: written by a newer Nightscope",
                expected=f"schema version {SCHEMA_VERSION} or older",
                found=str(content["schema_version"]),
                fix="verify it with the code that it names",
            )
        return Bundle.model_validate(content)
    except (ValueError, ValidationError) as error:
        raise IntegrityError(f"blob {oid}: is no evidence bundle: {error}") from error

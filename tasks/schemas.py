"""The nouns that travel between the rooms of the house, free of any vendor's types.

Units stand in the names. Frame indices are 0-based. An `oid` is the lower-case hex sha256 of a blob's bytes.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Oid = str
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

STILL = "still"
"""`Recording.container` of a picture that is a sample of its own."""

MAX_OBJECTS = 5_000
"""Labelled objects on one frame. More is taken for damage: comparing each with each would cost the night, and no
model here is asked for more than a tenth of it."""


def now() -> datetime:
    """The present moment, UTC, in the microsecond resolution that the tables store."""
    return datetime.now(UTC)


def canonical_json(value: Any) -> str:
    """JSON that is the same text for the same value: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def digest(*parts: Any) -> str:
    """Hex sha256 over the canonical JSON of `parts`: a deterministic identity for anything without bytes of its own."""
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def faults_of(error: ValidationError) -> str:
    """What pydantic found wrong, as one text: 'field.part: why; ...'."""
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())


class Frozen(BaseModel):
    """Base of all nouns: immutable, and unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Signature(Frozen):
    """Who vouches for a document: see `tasks/lake/signed.py`."""

    key: str = Field(description="Fingerprint of the public key, 'ed25519:<32 hex digits>'.")
    at: str = Field(description="When, ISO 8601 UTC, as the signer's clock had it; part of what is signed.")
    value: str = Field(description="Ed25519, base64.")


class Recording(Frozen):
    """One video, image stack, folder of images or still picture, as first ingested.

    `recording_id` is the oid of the file's bytes, so that the same file under two names is one recording.
    """

    recording_id: Oid
    name: str = Field(description="File name as the user gave it, e.g. 'S_0001.mp4'.")
    stem: str = Field(description="`name` without its last suffix; what label files are matched against.")
    landing_key: str
    study: str | None = None
    donor: str | None = None
    um_per_px: float | None = Field(default=None, gt=0)
    pinned_split: Split | None = None
    container: str
    codec: str
    width_px: int = Field(gt=0)
    height_px: int = Field(gt=0)
    fps_hz: float | None = Field(default=None, description="Mean rate; None where the source states no time.")
    variable_frame_rate: bool = False
    duration_s: float | None = None
    frames_announced: int = Field(ge=0)
    frames_decoded: int = Field(ge=0)
    pts_oid: Oid = Field(description="Blob: float64 .npy of shape [frames_decoded], presentation times in seconds.")
    frame_names_oid: Oid | None = Field(
        default=None, description="Blob: JSON list of the pictures' names, one for each frame; of folders of images."
    )
    size_bytes: int = Field(ge=0)
    ingested_at: datetime
    grey_low: float | None = Field(default=None, allow_inf_nan=False, description="The value that frames show as 0.")
    grey_high: float | None = Field(default=None, allow_inf_nan=False, description="The value that they show as 255.")

    @property
    def grey_range(self) -> tuple[float, float] | None:
        """(low, high): the recording's values that its 8-bit frames show as 0 and 255, and what lies between, linearly.

        A pixel `p` of a frame stands for `low + p / 255 * (high - low)`. None where frames show the values as they are.
        """
        return None if self.grey_low is None or self.grey_high is None else (self.grey_low, self.grey_high)

    @property
    def is_still(self) -> bool:
        """Whether it is a picture that is a sample of its own: one frame, without a time."""
        return self.container == STILL

    @property
    def group(self) -> str:
        """The group a split must keep together: the donor, else the recording itself."""
        return f"donor:{self.donor}" if self.donor else f"recording:{self.recording_id}"


class Frame(Frozen):
    """A frame of a recording that a line wants labelled."""

    line: str
    recording_id: Oid
    frame_index: int = Field(ge=0)
    oid: Oid = Field(description="Blob: the image, JPEG or PNG.")
    media_type: Literal["image/jpeg", "image/png"]
    pts_s: float | None
    width_px: int = Field(gt=0)
    height_px: int = Field(gt=0)
    phash: str = Field(description="64-bit perceptual hash, 16 hex digits.")
    reason: Literal["sampled", "labelled"] = Field(description="Why it was taken: by the line's rate, or for a label.")
    taken_at: datetime


class Annotation(Frozen):
    """One revision of one annotator's work on one frame. Append-only: the newest revision wins.

    `objects` holds what the line's kind makes of an object: see `tasks.kind`.
    """

    annotation_id: str = Field(description="Stable across revisions: '<project id>-<Label Studio annotation id>'.")
    revision_id: str = Field(description="Digest of everything that matters: unchanged work has an unchanged id.")
    line: str
    recording_id: Oid
    frame_index: int = Field(ge=0)
    frame_oid: Oid
    labeling_task_id: int
    state: Literal["active", "cancelled", "deleted"]
    annotator: str
    objects: tuple[dict[str, Any], ...] = ()
    unread: str | None = Field(
        default=None, description="Why a part of the work could not be read: it is then set aside whole."
    )
    ground_truth: bool = Field(default=False, description="Starred as such in Label Studio.")
    review: Literal["accepted", "rejected"] | None = Field(default=None, description="What a reviewer last said of it.")
    updated_at: datetime
    synced_at: datetime


class QuarantineItem(Frozen):
    """Something bad that was set aside, with its reason."""

    item_id: str = Field(description="Digest of what/subject/reason: setting aside twice is setting aside once.")
    what: Literal["recording", "frame", "annotation", "object"]
    subject: str = Field(description="Readable name: a landing key, or 'S_0001.mp4 frame 12'.")
    reason: str
    line: str | None = None
    recording_id: Oid | None = None
    annotation_id: str | None = None
    annotator: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)
    at: datetime

    @classmethod
    def of(cls, what: Any, subject: str, reason: str, **rest: Any) -> QuarantineItem:
        """Make an item whose id follows from its content."""
        key = digest(what, subject, reason, rest.get("line"), rest.get("annotation_id"), rest.get("details"))
        return cls(item_id=key, what=what, subject=subject, reason=reason, at=now(), **rest)


class Landing(Frozen):
    """What became of one object of the landing bucket, so that the next night need not look at it again."""

    key: str
    etag: str
    size_bytes: int
    modified_at: datetime
    recording_id: Oid | None
    outcome: Literal["ingested", "duplicate", "quarantined"]
    reason: str | None = None
    seen_at: datetime


class SplitAssignment(Frozen):
    """Where a group stands for a line. Made once, never moved."""

    line: str
    group: str
    split: Split
    pinned: bool
    assigned_at: datetime


class Decision(StrEnum):
    """What a gate says of a challenger."""

    PROMOTE = "promote"
    HOLD = "hold"
    REJECT = "reject"
    INSUFFICIENT_DATA = "insufficient_data"


class NightState(StrEnum):
    """How a night, or a person's promotion or rollback, ended for a line."""

    PROMOTED = "promoted"
    HELD = "held"
    REJECTED = "rejected"
    INSUFFICIENT_DATA = "insufficient_data"
    ROLLED_BACK = "rolled_back"
    SKIPPED = "skipped"
    FAILED = "failed"


ENDINGS: dict[Decision, NightState] = {
    Decision.PROMOTE: NightState.PROMOTED,
    Decision.HOLD: NightState.HELD,
    Decision.REJECT: NightState.REJECTED,
    Decision.INSUFFICIENT_DATA: NightState.INSUFFICIENT_DATA,
}
"""What a night becomes when its verdict is carried out."""


class Interval(Frozen):
    """A two-sided confidence interval; `low`/`high` None where it could not be estimated."""

    low: float | None
    high: float | None
    confidence: float


class SliceFinding(Frozen):
    """What a gate that asks for many slices found in one of them."""

    slice: str = Field(description="E.g. 'class.sperm'.")
    decision: Decision | None = Field(description="None: the test split holds nothing of it, so it is left out.")
    reason: str
    value: float | None = None
    champion_value: float | None = None
    difference: Interval | None = None
    clusters: int | None = Field(default=None, description="Test clusters that carry it, where it was compared.")


class GateResult(Frozen):
    """One gate's finding, with every number it rests on."""

    gate: str = Field(description="The gate's id, e.g. 'AP50.sperm.at_least'.")
    decision: Decision
    reason: str
    value: float | None = None
    threshold: float | None = None
    champion_value: float | None = None
    difference: Interval | None = None
    slices: tuple[SliceFinding, ...] = Field(default=(), description="Of a gate that asks for each of many.")


class Verdict(Frozen):
    """What was decided about one challenger, and everything it was decided from."""

    verdict_id: str
    line: str
    run_key: str
    verdict: Decision
    reasons: tuple[str, ...]
    gates: tuple[GateResult, ...]
    metrics: dict[str, Any] = Field(description="The challenger's: AP50, AP50_95, per_class, per_size, per_recording.")
    champion_metrics: dict[str, Any] | None = None
    intervals: dict[str, Any] = Field(default_factory=dict)
    dataset_version: str
    model_version: str
    champion_version: str | None = None
    mlflow_run: str
    evaluation_oid: Oid
    report_oid: Oid | None = None
    line_oid: Oid | None = Field(default=None, description="Blob: the line as it was judged, with the run's changes.")
    at: datetime
    signature: Signature | None = Field(default=None, description="Of all the rest; None: from before signing.")

    def signed_part(self) -> bytes:
        """What its signature is over: the same bytes whatever fields a later release adds."""
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}, exclude_defaults=True)).encode()


class Answer(Frozen):
    """What a person said when asked to approve a promotion; by nobody: none came in time."""

    approved: bool
    by: str | None = None
    note: str = ""
    at: datetime


class Aliases(Frozen):
    """Which model versions the registry's aliases mean; None: none."""

    champion: str | None = None
    previous: str | None = None
    challenger: str | None = None


class EvidenceEntry(Frozen):
    """One link of a line's evidence chain: where its bundle is, and what it says in short."""

    evidence_id: str = Field(description="Digest of line, action and what it carried out: recording twice is once.")
    line: str
    number: int = Field(ge=1, description="1, 2, ... without a gap.")
    bundle_oid: Oid
    previous_oid: Oid | None = Field(description="The bundle before it; None for the first.")
    action: Literal["night", "promotion", "rollback"]
    outcome: NightState
    verdict_id: str | None = None
    model_version: str | None = Field(default=None, description="Whose evidence it is.")
    by: str | None = Field(default=None, description="The person; None: a night on its own.")
    note: str = ""
    at: datetime
    signature: Signature | None = Field(default=None, description="Of the bundle; None: from before signing.")


class Prediction(Frozen):
    """What a model version sees in one frame. `objects` as in `Annotation`, each with a `score` in [0, 1].

    Only old lakes have a table of these: predictions are blobs that a verdict's evaluation names.
    """

    line: str
    model_version: str
    recording_id: Oid
    frame_index: int = Field(ge=0)
    frame_oid: Oid
    objects: tuple[dict[str, Any], ...] = ()
    predicted_at: datetime

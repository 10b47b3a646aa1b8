"""Settings of this installation, and the model lines.

A line is one YAML file in `dags/lines/`; reading one gives a frozen `Line`, or a `ConfigError` that lists every fault
at once. Nothing is read at import.
"""

from tasks.config.gate import CONDITIONS, Condition, Gate
from tasks.config.limits import DEVICE, LARGEST, LINE_NAME, MIN_GROUPS
from tasks.config.line import Line, dag_id_of, load_line, load_lines, parse_line
from tasks.config.plans import (
    AnnotatorChoice,
    ApprovalPlan,
    ClassSpec,
    EvaluationPlan,
    FrameSampling,
    Minimums,
    Plausibility,
    RecipeChoice,
    RecordingFilter,
    SplitPlan,
)
from tasks.config.settings import (
    HOME,
    AirflowSettings,
    CatalogSettings,
    IngestLimits,
    LabelStudioSettings,
    LocksSettings,
    MlflowSettings,
    S3Access,
    S3Settings,
    ServeSettings,
    Settings,
    SigningSettings,
    load_settings,
    state_folder,
)

__all__ = [
    "CONDITIONS",
    "DEVICE",
    "HOME",
    "LARGEST",
    "LINE_NAME",
    "MIN_GROUPS",
    "AirflowSettings",
    "AnnotatorChoice",
    "ApprovalPlan",
    "CatalogSettings",
    "ClassSpec",
    "Condition",
    "EvaluationPlan",
    "FrameSampling",
    "Gate",
    "IngestLimits",
    "LabelStudioSettings",
    "Line",
    "LocksSettings",
    "Minimums",
    "MlflowSettings",
    "Plausibility",
    "RecipeChoice",
    "RecordingFilter",
    "S3Access",
    "S3Settings",
    "ServeSettings",
    "Settings",
    "SigningSettings",
    "SplitPlan",
    "dag_id_of",
    "load_line",
    "load_lines",
    "load_settings",
    "parse_line",
    "state_folder",
]

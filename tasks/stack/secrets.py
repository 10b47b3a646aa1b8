"""The secrets of an embedded stack: generated once, kept in one 0600 file, never printed."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import asdict, dataclass, field, fields

from tasks.errors import StackError
from tasks.private_files import write_private
from tasks.stack.layout import Layout


def _hex(size_bytes: int) -> str:
    return secrets.token_hex(size_bytes)


def _fernet() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True, repr=False)
class Secrets:
    """Everything secret that the services need. Has no repr, so that it cannot slip into a log."""

    s3_access_key: str = field(default_factory=lambda: _hex(10))
    s3_secret_key: str = field(default_factory=lambda: _hex(20))
    s3_landing_access_key: str = field(default_factory=lambda: _hex(10))
    s3_landing_secret_key: str = field(default_factory=lambda: _hex(20))
    s3_mlflow_access_key: str = field(default_factory=lambda: _hex(10))
    s3_mlflow_secret_key: str = field(default_factory=lambda: _hex(20))
    s3_frames_access_key: str = field(default_factory=lambda: _hex(10))
    s3_frames_secret_key: str = field(default_factory=lambda: _hex(20))
    mlflow_password: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    mlflow_reader_password: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    mlflow_secret_key: str = field(default_factory=lambda: _hex(32))
    label_studio_password: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    label_studio_token: str = field(default_factory=lambda: _hex(20))
    airflow_password: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    airflow_fernet_key: str = field(default_factory=_fernet)
    airflow_jwt_secret: str = field(default_factory=lambda: _hex(32))
    airflow_secret_key: str = field(default_factory=lambda: _hex(32))


def load_or_create(layout: Layout) -> Secrets:
    """The stack's secrets; made on the first call, the same ever after. A secret new to this release is added.

    Raises:
        StackError: The file is there but is not ours to read.
    """
    try:
        kept = json.loads(layout.secrets_file.read_text()) if layout.secrets_file.exists() else {}
        known = {entry.name: str(kept[entry.name]) for entry in fields(Secrets) if entry.name in kept}
    except (ValueError, TypeError, OSError) as error:
        raise StackError(
            f"{layout.secrets_file}: cannot be read ({type(error).__name__})",
            fix="restore it; without it the data of Label Studio and Airflow cannot be opened",
        ) from None
    made = Secrets(**known)
    if len(known) < len(fields(Secrets)):
        write_private(layout.secrets_file, json.dumps(asdict(made), indent=1) + "\n")
    layout.secrets_file.chmod(0o600)
    return made

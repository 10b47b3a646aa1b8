"""Where the embedded stack keeps its things: all below one state folder, mode 0700, files 0600."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import StackError

# A Unix socket's path may have 107 bytes; supervisord first binds '<path>.<pid>'.
_LONGEST_SOCKET_PATH = 95


@dataclass(frozen=True)
class Layout:
    """Paths of one embedded stack. `state_dir` is absolute."""

    state_dir: Path

    @classmethod
    def at(cls, state_dir: Path) -> Layout:
        """The layout of `state_dir`, made absolute; nothing is created.

        Raises:
            StackError: The path holds a character that a supervisord configuration cannot carry.
        """
        path = Path(state_dir).resolve()
        if any(character in str(path) for character in "\n\r;\0"):
            raise StackError(f"state folder {str(path)!r}", expected="a path without newlines and semicolons")
        return cls(path)

    @property
    def marker(self) -> str:
        """What `NIGHTSCOPE_STACK` is in every process of this stack: 16 hex digits that follow from `state_dir`."""
        return hashlib.sha256(str(self.state_dir).encode()).hexdigest()[:16]

    @property
    def control_dir(self) -> Path:
        """The process manager's own files: configuration, service files, secrets, ports, lock."""
        return self.state_dir / "stack"

    @property
    def logs_dir(self) -> Path:
        """One log per service, rotated."""
        return self.state_dir / "logs"

    @property
    def settings_env(self) -> Path:
        """What `tasks.config.load_settings` reads."""
        return self.state_dir / "settings.env"

    @property
    def secrets_file(self) -> Path:
        """All generated secrets."""
        return self.control_dir / "secrets.json"

    @property
    def ports_file(self) -> Path:
        """Service -> port, as last chosen."""
        return self.control_dir / "ports.json"

    @property
    def airflow_passwords(self) -> Path:
        """SimpleAuthManager's password file."""
        return self.control_dir / "airflow-passwords.json"

    @property
    def supervisord_conf(self) -> Path:
        """supervisord's configuration."""
        return self.control_dir / "supervisord.conf"

    @property
    def socket(self) -> Path:
        """supervisord's Unix socket; below the temporary folder where `state_dir` is too deep for one."""
        path = self.control_dir / "supervisor.sock"
        if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
            return path
        return Path(tempfile.gettempdir()) / f"nightscope-{os.getuid()}-{self.marker}" / "supervisor.sock"

    @property
    def lock(self) -> Path:
        """Held by `up` and `down`, so that two of them never work on one stack."""
        return self.control_dir / "stack.lock"

    def s3_root(self, service: str) -> Path:
        """What one of the S3 servers serves: 's3', 's3-landing', 's3-mlflow' or 's3-frames'."""
        return self.state_dir / service

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME: database, task logs."""
        return self.state_dir / "airflow"

    @property
    def airflow_db(self) -> Path:
        """Airflow's SQLite database."""
        return self.airflow_home / "airflow.db"

    @property
    def mlflow_db(self) -> Path:
        """MLflow's SQLite database."""
        return self.state_dir / "mlflow" / "mlflow.db"

    @property
    def mlflow_auth_db(self) -> Path:
        """The SQLite database of MLflow's users."""
        return self.state_dir / "mlflow" / "auth.db"

    @property
    def mlflow_auth_config(self) -> Path:
        """What MLflow's login reads; holds no secrets."""
        return self.control_dir / "mlflow-auth.ini"

    @property
    def temporary_dir(self) -> Path:
        """TMPDIR of the services: nothing of theirs lies in the machine's shared folder."""
        return self.state_dir / "tmp"

    @property
    def label_studio_data(self) -> Path:
        """LABEL_STUDIO_BASE_DATA_DIR."""
        return self.state_dir / "label-studio"

    def service_file(self, service: str) -> Path:
        """What `tasks.stack.launch` reads to start `service`: command and environment."""
        return self.control_dir / "services" / f"{service}.json"

    def log(self, service: str) -> Path:
        """The log of `service`."""
        return self.logs_dir / f"{service}.log"

    def create(self) -> None:
        """Make the folders, each for its owner only.

        Raises:
            StackError: The socket's folder below the temporary folder belongs to someone else.
        """
        folders = (self.state_dir, self.control_dir, self.control_dir / "services", self.logs_dir, self.temporary_dir)
        for folder in (*folders, self.airflow_home, self.mlflow_db.parent, self.label_studio_data):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.state_dir.chmod(0o700)
        self.control_dir.chmod(0o700)
        if self.socket.parent != self.control_dir:
            self.socket.parent.mkdir(exist_ok=True, mode=0o700)
            found = self.socket.parent.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
                raise StackError(f"{self.socket.parent}", expected="a folder of ours, mode 0700", fix="remove it")

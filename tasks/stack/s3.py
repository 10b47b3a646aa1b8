"""The embedded S3 servers: one process and one key for each purpose, since rclone's key opens all that a server serves.

    s3           the lake's bucket, and the frames' bucket to write to     Nightscope's own steps
    s3-landing   the landing bucket                                        whoever brings recordings (`nightscope add`)
    s3-mlflow    MLflow's artifacts                                        the MLflow server
    s3-frames    the frames that annotators see, to read only              Label Studio

Each has a root folder of its own in the state folder, and a bucket is a folder in it. The frames' bucket lies in the
root of `s3-frames`; a link in the root of `s3` leads there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tasks.config import S3Settings
from tasks.errors import StackError
from tasks.stack.layout import Layout
from tasks.stack.ports import HOST
from tasks.stack.secrets import Secrets
from tasks.stack.service import Service, program

SERVICES = ("s3", "s3-landing", "s3-mlflow", "s3-frames")


def keys(secrets: Secrets) -> dict[str, tuple[str, str]]:
    """Service -> access key, secret key."""
    return {
        "s3": (secrets.s3_access_key, secrets.s3_secret_key),
        "s3-landing": (secrets.s3_landing_access_key, secrets.s3_landing_secret_key),
        "s3-mlflow": (secrets.s3_mlflow_access_key, secrets.s3_mlflow_secret_key),
        "s3-frames": (secrets.s3_frames_access_key, secrets.s3_frames_secret_key),
    }


def s3_services(layout: Layout, secrets: Secrets, ports: Mapping[str, int], shared: dict[str, str]) -> list[Service]:
    """The four servers; `shared` is the environment that all services of the stack have."""
    return [
        Service(
            name=name,
            unit="s3",
            command=(program("rclone"), "serve", "s3", str(layout.s3_root(name)), *_options(name, ports[name])),
            # Without a key it would serve anonymously. The quotes: rclone reads a list from the variable, as CSV.
            environment={**shared, "RCLONE_AUTH_KEY": f'"{access},{secret}"'},
            port=ports[name],
            health_path="/",
            stop_s=5,
        )
        for name, (access, secret) in keys(secrets).items()
    ]


def _options(name: str, port: int) -> tuple[str, ...]:
    common = ("--config", "/dev/null", "--addr", f"{HOST}:{port}", "--no-cleanup")
    if name == "s3":
        return (*common, "--copy-links")  # the frames' bucket is a link
    if name == "s3-frames":
        # Annotators' browsers fetch frames by presigned URL from pages of Label Studio: another origin. Another server
        # writes the frames: a folder remembered, as for five minutes by default, would hide the new ones.
        return (*common, "--read-only", "--allow-origin", "*", "--dir-cache-time", "0s")
    return common


def lay_out(layout: Layout, s3: S3Settings) -> None:
    """Make the servers' roots and buckets; move what an older release kept all in one root.

    Each move is one rename: killed in between, the next start goes on.
    """
    roots = {name: layout.s3_root(name) for name in SERVICES}
    for root in roots.values():
        root.mkdir(mode=0o700, exist_ok=True)
    _move(roots["s3"] / s3.landing_bucket, roots["s3-landing"] / s3.landing_bucket)
    _move(roots["s3"] / s3.lake_bucket / "mlflow", roots["s3-mlflow"] / s3.mlflow_bucket)
    for bucket in (
        roots["s3"] / s3.lake_bucket,
        roots["s3-landing"] / s3.landing_bucket,
        roots["s3-mlflow"] / s3.mlflow_bucket,
        roots["s3-frames"] / s3.frames_bucket,
    ):
        bucket.mkdir(mode=0o700, exist_ok=True)
    link = roots["s3"] / s3.frames_bucket
    if link.exists() and not link.is_symlink():
        raise StackError(
            f"{link}: is in the way of the frames' bucket",
            expected="another name for it than for any other bucket",
            fix="set NIGHTSCOPE_S3__FRAMES_BUCKET, or move that folder away",
        )
    if not link.is_symlink():
        link.symlink_to(Path("..") / "s3-frames" / s3.frames_bucket)


def _move(old: Path, new: Path) -> None:
    """Rename a bucket of an older release, unless the new place holds something already."""
    if not old.is_dir() or old.is_symlink():
        return
    if new.is_dir() and not any(new.iterdir()):
        new.rmdir()
    if not new.exists():
        old.rename(new)

"""Which GPU a process computes on: one lock for each device, so that no two trainings or evaluations share one.

Airflow's pool `gpu` has as many slots as there are devices; a slot does not say which. So whoever computes takes the
lock of a free device, sees that device alone (`CUDA_VISIBLE_DEVICES`), and keeps it until it is done or dies: the
kernel owns the lock. Without a GPU the CPU is the one device. Nothing here imports torch: the choice must stand before
torch looks for devices.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.config import Settings
from tasks.errors import ConfigError
from tasks.stack.devices import CPU, listed, present

POLL_S = 0.5

Waiting = Callable[[str], None]
"""Is told once what is waited for."""


def wanted(device: str | None, devices: Sequence[str]) -> tuple[str, ...] | None:
    """The devices that a recipe's `device` names; None: any one.

    Args:
        device: None or 'auto'; 'cpu'; or GPUs by their place in `devices`: '1', or '0,1' to train on both.
        devices: What is `present`.

    Raises:
        ConfigError: There is no such device.
    """
    if device in (None, "auto"):
        return None
    if device == CPU:
        return (CPU,)
    places = listed(str(device))
    gpus = [each for each in devices if each != CPU]
    if not places or len(set(places)) < len(places) or not all(p.isdecimal() and int(p) < len(gpus) for p in places):
        have = f"GPUs 0 to {len(gpus) - 1}" if gpus else "no GPU"
        raise ConfigError(
            f"recipe: device {device!r} is not on this machine",
            expected="auto, cpu, or one or several of its GPUs by number, e.g. '0,1'",
            found=have,
            fix="leave `device` out: the next free device is taken",
        )
    return tuple(gpus[int(place)] for place in places)


@contextmanager
def hold(
    locks_dir: Path,
    devices: Sequence[str],
    exactly: Sequence[str] | None = None,
    waiting: Waiting = lambda _: None,
) -> Iterator[tuple[str, ...]]:
    """Hold one free device of `devices`, or all of `exactly`; wait until they are free.

    Args:
        locks_dir: Where the locks lie, the same for all processes of the machine.
        devices: What is `present`.
        exactly: What a recipe asks for, see `wanted`.
        waiting: Is told once, when there is something to wait for.

    Yields:
        The devices held.
    """
    locks_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as held:
        if exactly:
            # In one order for all, so that two that want the same pair never wait for each other.
            for device in sorted(exactly):
                _wait_for((device,), locks_dir, held, waiting)
            yield tuple(exactly)
        else:
            yield (_wait_for(devices, locks_dir, held, waiting),)


def show_only(devices: Sequence[str]) -> None:
    """Have this process, and those that it starts, see these devices alone. Must come before torch looks for them."""
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as the driver counts
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(device for device in devices if device != CPU)


@contextmanager
def compute_slot(settings: Settings, waiting: Waiting = lambda _: None) -> Iterator[str]:
    """Hold a device in this process, e.g. for an evaluation; the same lock as a training's.

    Yields:
        The device. This process sees no other GPU while it holds it.
    """
    with hold(settings.state_dir.resolve() / "locks", present(settings), waiting=waiting) as (device,):
        before = os.environ.get("CUDA_VISIBLE_DEVICES")
        show_only((device,))
        try:
            yield device
        finally:
            if before is None:
                os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            else:
                os.environ["CUDA_VISIBLE_DEVICES"] = before


def _wait_for(devices: Sequence[str], locks_dir: Path, held: ExitStack, waiting: Waiting) -> str:
    """The first of `devices` that is free, locked until `held` ends."""
    told = False
    while True:
        for device in devices:
            lock = FileLock(locks_dir / f"device-{device.replace('/', '-')}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            held.callback(lock.release)
            return device
        if not told:
            waiting(f"another training or evaluation on {' and '.join(devices)}")
            told = True
        time.sleep(POLL_S)

"""Devices: whether torch sees the ones that the settings name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec

from tasks.operations.doctor.findings import Finding, check, ok, wrong
from tasks.operations.doctor.patient import Patient
from tasks.operations.doctor.programs import in_python
from tasks.stack.devices import CPU, present

_ASK = """
import json, torch
seen = range(torch.cuda.device_count())
properties = [torch.cuda.get_device_properties(each) for each in seen]
print(json.dumps([torch.__version__, torch.version.cuda,
                  [[str(each), p.name, "GPU-" + str(getattr(p, "uuid", ""))] for each, p in zip(seen, properties)]]))
"""
_DRIVER = "install NVIDIA's driver for this CUDA (nvidia-smi shows it), or set NIGHTSCOPE_DEVICES"


@check("devices.seen")
def seen(patient: Patient) -> Iterator[Finding]:
    """Trainings find the devices that they are given."""
    wanted = present(patient.settings)
    if find_spec("torch") is None:
        yield wrong(
            "torch is not installed: nothing can be trained here",
            "install the extra train, or run the nights on another machine",
        )
        return
    rc, said = in_python(_ASK)
    if rc != 0:
        yield wrong(f"torch cannot be imported: {said[-300:]}", "make install")
        return
    version, cuda, devices = json.loads(said.splitlines()[-1])
    if wanted == (CPU,):
        yield ok(f"torch {version} on the CPU")
        return
    names = {name for number, _, uuid in devices for name in (number, uuid)}
    missing = [each for each in wanted if each not in names]
    if missing:
        yield wrong(
            f"torch {version} (CUDA {cuda}) does not see {', '.join(missing)}; it sees "
            f"{', '.join(f'{number} ({name})' for number, name, _ in devices) or 'no GPU'}",
            _DRIVER,
        )
    else:
        yield ok(f"torch {version} sees {', '.join(f'{number} ({name})' for number, name, _ in devices)}")

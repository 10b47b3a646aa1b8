"""The exporting subprocess: `python -m tasks.kinds.segmentation.export_worker <job.json>`.

Local files in, local files out (`export_process.ExportJob`): it knows neither the lake nor MLflow.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tasks.kinds.segmentation.export_process import ExportJob
from tasks.training.worker import die_with


def main(job_file: Path) -> None:
    """Run one job."""
    job = ExportJob.model_validate_json(job_file.read_text())
    die_with(job.parent_pid)
    import torch

    from tasks.kinds.segmentation.export_network import OPSET, write_graphs
    from tasks.kinds.segmentation.predictor import load_segmenter

    torch.manual_seed(0)
    network, spec = load_segmenter(job.weights)
    target = job.folder / "files"
    target.mkdir()
    write_graphs(network, spec, target)
    result = {"files": sorted(path.name for path in target.iterdir()), "opset": OPSET}
    (job.folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Run a line's night in this process through `dag.test()`, and print how it ended as the last line, as JSON.

python -m tests.e2e.night LINE CONF_JSON
"""

from __future__ import annotations

import json
import sys

from tasks.config import HOME, load_line, load_settings


def main(line: str, conf: str) -> None:
    """Airflow is configured by the caller's environment."""
    from airflow.dag_processing.dagbag import DagBag

    dag_id = load_line(line, load_settings().lines_dir).dag_id
    bag = DagBag(HOME / "dags" / "retrain.py")
    assert not bag.import_errors, bag.import_errors
    run = bag.dags[dag_id].test(run_conf=json.loads(conf))
    instances = run.get_task_instances()
    states = {instance.task_id: str(instance.state) for instance in instances}
    outcomes = {instance.task_id: instance.xcom_pull(instance.task_id, key="outcome") for instance in instances}
    verdict = next(i.xcom_pull(i.task_id) for i in instances if i.task_id == "decide_verdict")
    print(json.dumps({"state": str(run.state), "tasks": states, "outcomes": outcomes, "verdict": verdict}))


if __name__ == "__main__":
    main(*sys.argv[1:])

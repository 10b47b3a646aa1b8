"""One `retrain_<line>` DAG for each file in `dags/lines/`. The wiring is in `nightscope_airflow/nights.py`."""

from __future__ import annotations

from nightscope_airflow.nights import broken_line, retrain_dag

from tasks.config import load_line, load_settings
from tasks.errors import ConfigError
from tasks.kinds import kind_of

_lines_dir = load_settings().lines_dir

for _path in sorted(_lines_dir.glob("*.yaml")):
    try:
        _line = load_line(_path.stem, _lines_dir)
        _recipes = kind_of(_line.kind).recipes.recipe_names()
    except ConfigError as error:
        # One broken file must not take the other lines' nights with it.
        globals()[_path.stem] = broken_line(_path.stem, error)
    else:
        globals()[_line.dag_id] = retrain_dag(_line, list(_recipes))

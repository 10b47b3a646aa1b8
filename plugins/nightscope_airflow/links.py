"""Where our pages are, as people's browsers see them."""

from __future__ import annotations

from airflow.sdk.configuration import conf

PREFIX = "/nightscope"
"""Where the plugin's pages are mounted in Airflow's API server."""


def report_url(verdict_id: str) -> str:
    """The page with a verdict's report."""
    return f"{conf.get('api', 'base_url', fallback='').rstrip('/')}{PREFIX}/verdicts/{verdict_id}/report"

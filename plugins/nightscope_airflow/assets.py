"""The assets that chain the DAGs: plural nouns, each meaning 'there is something new of these in the lake'."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias

FRAMES = Asset(name="frames", uri="nightscope://lake/frames", group="nightscope")
"""New frames wait to be labelled: `ingest_recordings` makes them, `sync_annotations` puts them before annotators."""

ANNOTATIONS = Asset(name="annotations", uri="nightscope://lake/annotations", group="nightscope")
"""Annotators' work has changed: `sync_annotations` fetched it. Nothing waits for it yet: nights start by the clock."""

CHAMPIONS = AssetAlias(name="champions", group="nightscope")
"""Of a task that learns only from its run's form whose champion it changes."""


def champions(line: str) -> Asset:
    """The model in charge of `line` has changed."""
    return Asset(name=f"champions-{line}", uri=f"nightscope://registry/{line}/champion", group="nightscope")

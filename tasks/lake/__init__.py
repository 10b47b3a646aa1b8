"""The lake: blobs, tables and dataset manifests in S3. `open_lake` is the door.

Cheap to import: the S3 client and PyIceberg are imported when they are first used.
"""

from __future__ import annotations

from tasks.lake.datasets import Manifest
from tasks.lake.lake import Lake, open_lake
from tasks.lake.object_store import ObjectInfo, ObjectStore

__all__ = ["Lake", "Manifest", "ObjectInfo", "ObjectStore", "open_lake"]

"""Stills: pictures that are samples of their own, thousands at a time.

    sources      where pictures come from: a folder, a ZIP, a prefix of a bucket
    grouping     which of them belong together: by folder, by a pattern of their names, by a column of a CSV
    adding       `nightscope add --stills`: pictures become batches in the landing bucket
    batches      what waits in the landing bucket, and taking pictures out of it again
    taking_in    the night: a batch becomes recordings of one frame each

A batch is one ZIP of up to 2,000 pictures (or 256 MiB) with one sidecar that names group, split and sha256 of each. So
10,000 pictures are five objects to list, to fetch and to note as dealt with, and one commit of each table a batch,
where one object each would cost five requests a picture and as many rows. In the lake each picture is a recording of
its own, under the sha256 of its file: splits, labels, erasure, and evidence treat it like any other.
"""

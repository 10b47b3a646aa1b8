"""Label Studio: frames go to the annotators, their work comes back as revisions in the lake.

    client           the door to Label Studio: the only module that knows its SDK
    label_config     a line's classes in a labeling config
    convert          Label Studio's regions ⇄ our objects
    projects         the one project a line has, and the storage that serves its images
    push_tasks       frames become labeling tasks, each exactly once
    pull_annotations changed annotations become revisions
    state            what the last sync knew
    sync             all of it, in the order that survives a kill
    filling          boxes that a model fills become predictions
    importing        existing label files become annotations; `formats` reads them

Inside this room a *labeling task* is Label Studio's "task": one frame before the annotators.
"""

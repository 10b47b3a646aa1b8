"""Is the data fit to learn from? Great Expectations suites over recordings, frames, annotations, labels, datasets.

`validate.validate` says what may be learnt from tonight and sets the rest aside with its reason;
`dataset.check_dataset` says whether a split dataset has enough of everything. The suites are JSON, in `expectations/`.
"""

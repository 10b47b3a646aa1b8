"""What a model is worth: metrics of each kind of line, and the bootstrap that says how sure they are.

`matching`, `average_precision`, `calibration`, `error_kinds`, `curves`, `bootstrap` and `judgement` know nothing of
boxes; each kind of line has modules of its own (`detection`, with `confusion` and its geometry in `boxes`). Nothing
here touches the lake, a model or a vendor's SDK: arrays in, numbers out.
"""

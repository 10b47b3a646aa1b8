"""What a model is worth: metrics of each kind of line, and the bootstrap that says how sure they are.

`matching`, `average_precision`, `bootstrap` and `judgement` know nothing of boxes; each kind of line has one module of
its own (`detection`, with its geometry in `boxes`). Nothing here touches the lake, a model or a vendor's SDK: arrays
in, numbers out.
"""

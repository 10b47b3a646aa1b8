"""Training: one readable module per kind of model, recipes as YAML, and the detector that a training leaves behind."""

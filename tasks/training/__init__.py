"""What every training needs, whatever its kind: a run key, a supervised worker, checkpoints, devices, MLflow."""

"""What speaks Airflow: assets, defaults, the translation of our errors, the wiring of a night."""

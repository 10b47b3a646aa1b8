"""The embedded services as local processes: S3 (rclone), MLflow, Label Studio, Airflow, kept alive by supervisord.

    up.up(state_dir) -> [ServiceStatus]           start, wait until healthy; quick when up
    down.down(state_dir) -> [name]                end all of it, orphans included
    status.status(state_dir) -> [ServiceStatus]   look, change nothing

`up` leaves `<state_dir>/settings.env` for `tasks.config.load_settings`. Nothing is imported here: `launch` stands
before every service and must be quick.
"""

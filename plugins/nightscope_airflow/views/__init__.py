"""Pages that Airflow's API server shows. Light: that server must start soon and stay responsive."""

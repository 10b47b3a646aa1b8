#!/bin/sh
# Makes a role and a database for each service, and sets the role's password to the one in the environment.
# Run at every start: what is there stays. Each role opens its own database only.
set -eu

# Passwords go through psql's variables on standard input, never through its arguments.
make() {
  psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --dbname postgres <<SQL
\\set password \`printenv PASSWORD_OF_$2\`
SELECT 'CREATE ROLE $1' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$1') \\gexec
ALTER ROLE $1 LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
SELECT 'CREATE DATABASE $1 OWNER $1' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$1') \\gexec
REVOKE CONNECT, TEMPORARY ON DATABASE $1 FROM PUBLIC;
SQL
}

make airflow AIRFLOW
make celery CELERY
make catalog CATALOG
make label_studio LABEL_STUDIO
make mlflow MLFLOW
make mlflow_auth MLFLOW

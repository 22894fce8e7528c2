#!/bin/sh
# PostgreSQL runs this once, when its folder is empty: a database for Dagster's storage and one for MLflow's.
set -eu
for name in dagster mlflow; do
  psql --username "$POSTGRES_USER" --command "create database $name"
done

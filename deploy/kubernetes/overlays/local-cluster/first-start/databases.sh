#!/bin/sh
# Run once by the image of PostgreSQL, on an empty data directory: a database and an owner for each user of it.
set -eu
for name in clinical dagster mlflow; do
  password="$(cat "/run/passwords/$name")"
  psql --set ON_ERROR_STOP=1 --set name="$name" --set password="$password" --username postgres <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done

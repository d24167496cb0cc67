#!/bin/sh
# Run once by the database container: what apps/common/embedded_postgres.py does for the embedded server.
set -eu
psql --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres \
    --set=owner_password="$OWNER_PASSWORD" --set=app_password="$APP_PASSWORD" <<'SQL'
CREATE ROLE patchsorter_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
CREATE ROLE patchsorter_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'app_password';
CREATE DATABASE patchsorter OWNER patchsorter_owner;
REVOKE ALL ON DATABASE patchsorter FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE patchsorter TO patchsorter_app;
\connect patchsorter
CREATE EXTENSION IF NOT EXISTS vector;
SQL

"""Tables that the database itself keeps from being changed, and what the app's role may do to each table."""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import connections
from django.db.migrations.operations import RunSQL

TRIGGER_NAME = "append_only"
logger = logging.getLogger(__name__)


class MakeAppendOnly(RunSQL):
    """Migration operation: from here on the table takes rows but gives up none.

    The trigger stops every role, the owner included, from UPDATE, DELETE and TRUNCATE; that the app's role can not
    drop the trigger follows from its not owning the table (`grant_app_role`). What remains possible to the owner and
    to a superuser (disabling the trigger) shows in the hash chain.
    """

    def __init__(self, table: str) -> None:
        super().__init__(
            sql=f"""
                CREATE OR REPLACE FUNCTION patchsorter_refuse_change() RETURNS trigger LANGUAGE plpgsql
                SECURITY DEFINER SET search_path = pg_catalog AS $$
                BEGIN
                    RAISE EXCEPTION '% on % is refused: this table is append-only', TG_OP, TG_TABLE_NAME
                        USING ERRCODE = 'insufficient_privilege';
                END $$;
                CREATE TRIGGER {TRIGGER_NAME} BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
                    FOR EACH STATEMENT EXECUTE FUNCTION patchsorter_refuse_change();
            """,
            reverse_sql=f"DROP TRIGGER {TRIGGER_NAME} ON {table};",
        )
        self.table = table

    def deconstruct(self) -> tuple[str, list[object], dict[str, object]]:
        return (type(self).__name__, [self.table], {})


def grant_app_role(using: str) -> None:
    """Let the web's and the workers' database role read and write rows, and only add to append-only tables."""
    app_role = str(settings.DATABASES["default"]["USER"])
    connection = connections[using]
    if not app_role or app_role == connection.settings_dict["USER"]:
        if not settings.EMBEDDED_DATABASE:  # made by `manage.py`, with two roles
            logger.warning(
                "One database role does everything, and so could change the history of labels: make two, and name the one "
                "that owns the tables in DATABASE_OWNER_URL (see deploy/make-database.sh)."
            )
        return
    with connection.cursor() as cursor:
        role = connection.ops.quote_name(app_role)
        cursor.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
        cursor.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}")
        cursor.execute("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = %s", [TRIGGER_NAME])
        for (table,) in cursor.fetchall():
            cursor.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {role}")

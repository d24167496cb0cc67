from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def take_up_kernel(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """The layered head is gone; this does what it did, better."""
    # As the role that migrates: its tables are not the application's.
    projects = apps.get_model("projects", "Project").objects.using(schema_editor.connection.alias)
    projects.filter(classifier="layered").update(classifier="kernel")


class Migration(migrations.Migration):
    dependencies = [("projects", "0006_project_kernel_classifier")]

    operations = [migrations.RunPython(take_up_kernel, migrations.RunPython.noop)]

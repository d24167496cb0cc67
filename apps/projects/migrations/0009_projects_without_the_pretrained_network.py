from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def leave_it_off(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Projects that chose how to learn before there was a pretrained network go on as they chose; their managers may switch it on."""
    # As the role that migrates: its tables are not the application's.
    projects = apps.get_model("projects", "Project").objects.using(schema_editor.connection.alias)
    # Settings of what trains a network say how its views differ.
    for project in projects.filter(approach_settings__has_key="augment"):
        if "pretrained" not in project.approach_settings:
            project.approach_settings["pretrained"] = False
            project.save(update_fields=["approach_settings"])


class Migration(migrations.Migration):
    dependencies = [("projects", "0008_removed_classes")]

    operations = [migrations.RunPython(leave_it_off, migrations.RunPython.noop)]

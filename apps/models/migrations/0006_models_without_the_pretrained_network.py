from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def say_that_they_are_without(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Models that were trained before features held what the pretrained network sees go on giving the features that they gave."""
    # As the role that migrates: its tables are not the application's.
    versions = apps.get_model("dl_models", "ModelVersion").objects.using(schema_editor.connection.alias)
    # Of a model that was trained, the settings say how its views differed.
    for version in versions.filter(settings__settings__has_key="augment"):
        if "pretrained" not in version.settings["settings"]:
            version.settings["settings"]["pretrained"] = False
            version.save(update_fields=["settings"])


class Migration(migrations.Migration):
    dependencies = [("dl_models", "0005_label_purity")]

    operations = [migrations.RunPython(say_that_they_are_without, migrations.RunPython.noop)]

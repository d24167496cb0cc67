from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("projects", "0004_project_map_shows_labels")]

    operations = [
        migrations.AlterConstraint(
            "project",
            "project_name_unique",
            models.UniqueConstraint(
                fields=["organization", "name"],
                name="project_name_unique",
                violation_error_message="A project of this name already exists in the organization.",
            ),
        ),
    ]

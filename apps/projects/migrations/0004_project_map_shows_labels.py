from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("projects", "0003_project_learning")]

    operations = [
        migrations.AddField("project", "map_shows_labels", models.BooleanField(default=False)),
    ]

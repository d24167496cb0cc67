from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("projects", "0004_project_map_shows_labels")]

    operations = [
        migrations.AlterField("project", "classifier", models.CharField(default="layered", max_length=60)),
    ]

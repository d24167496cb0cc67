from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("projects", "0005_project_name_message")]

    operations = [
        migrations.AlterField("project", "classifier", models.CharField(default="kernel", max_length=60)),
    ]

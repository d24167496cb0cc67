from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("projects", "0002_project_sampled_acceptance")]

    operations = [
        migrations.AddField("project", "approach_settings", models.JSONField(blank=True, default=dict)),
        migrations.AddField("project", "reducer", models.CharField(default="umap", max_length=60)),
        migrations.AddField("project", "classifier", models.CharField(default="linear", max_length=60)),
    ]

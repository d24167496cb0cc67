from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("dl_models", "0003_several_maps_of_a_job")]

    operations = [
        migrations.AddField("embedding", "reducer", models.CharField(default="umap", max_length=60)),
        migrations.AddField("embedding", "shows_labels", models.BooleanField(default=False)),
        migrations.AddField("embedding", "trustworthiness", models.FloatField(null=True)),
        migrations.AddField("embedding", "displacement", models.FloatField(null=True)),
    ]

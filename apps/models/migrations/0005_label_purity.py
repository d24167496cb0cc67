from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("dl_models", "0004_embedding_map_quality")]

    operations = [
        migrations.AddField("embedding", "feature_purity", models.FloatField(null=True)),
        migrations.AddField("embedding", "map_purity", models.FloatField(null=True)),
        migrations.AddField("embedding", "fault", models.TextField(blank=True, default="")),
    ]

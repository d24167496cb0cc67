import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0001_initial"),
        ("dl_models", "0001_initial"),
    ]

    operations = [
        migrations.RemoveField(model_name="embedding", name="has_predictions"),
        migrations.RemoveField(model_name="embedding", name="quality"),
        migrations.CreateModel(
            name="PredictionSet",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("revision", models.PositiveIntegerField()),
                ("label_revision", models.BigIntegerField()),
                ("n_labels", models.PositiveIntegerField()),
                ("has_predictions", models.BooleanField()),
                ("quality", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "embedding",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="prediction_sets",
                        to="dl_models.embedding",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="prediction_sets",
                        to="projects.project",
                    ),
                ),
            ],
            options={"ordering": ["revision"]},
        ),
        migrations.AddConstraint(
            model_name="predictionset",
            constraint=models.UniqueConstraint(fields=("project", "revision"), name="prediction_set_revision_unique"),
        ),
    ]

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("projects", "0001_initial")]

    operations = [
        migrations.AddField("project", "allows_sampled", models.BooleanField(default=False)),
        migrations.AddField(
            "project",
            "max_sampled_error",
            models.FloatField(
                default=0.02,
                validators=[
                    django.core.validators.MinValueValidator(0.005),
                    django.core.validators.MaxValueValidator(0.1),
                ],
            ),
        ),
    ]

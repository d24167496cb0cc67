from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("labels", "0007_left_out_by_redo")]

    operations = [
        migrations.AddIndex(
            model_name="labelaction",
            index=models.Index(
                condition=models.Q(("selection__suggestion__kind", "discordant")),
                fields=["label_set"],
                name="label_action_on_differences",
            ),
        ),
    ]

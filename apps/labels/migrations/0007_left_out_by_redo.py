from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("labels", "0006_what_was_left_out_is_denied"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="labelaction",
            name="label_action_with_left_out",
        ),
        migrations.AddIndex(
            model_name="labelaction",
            index=models.Index(
                condition=models.Q(("selection__has_key", "left_out")),
                fields=["label_set"],
                name="label_action_with_left_out",
            ),
        ),
    ]

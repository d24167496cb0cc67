from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("labels", "0005_labels_of_a_session_are_net"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="labelaction",
            index=models.Index(
                condition=models.Q(("kind", "label"), ("selection__has_key", "left_out")),
                fields=["label_set"],
                name="label_action_with_left_out",
            ),
        ),
    ]

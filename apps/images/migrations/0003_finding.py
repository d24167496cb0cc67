from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("images", "0002_looks_like_mask")]

    operations = [
        migrations.AddField(
            model_name="uploadedfile",
            name="finding",
            field=models.CharField(
                blank=True,
                choices=[("mask-like", "Mask Like"), ("no-object", "No Object")],
                default="",
                max_length=10,
            ),
            preserve_default=False,
        ),
        migrations.RunSQL(
            "UPDATE images_uploadedfile SET finding = 'mask-like' WHERE looks_like_mask", migrations.RunSQL.noop
        ),
        migrations.RemoveField(model_name="uploadedfile", name="looks_like_mask"),
    ]

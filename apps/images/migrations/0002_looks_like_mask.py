from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("images", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="uploadedfile", name="looks_like_mask", field=models.BooleanField(default=False)
        ),
    ]

from django.db import migrations

from apps.common.append_only import MakeAppendOnly


class Migration(migrations.Migration):
    dependencies = [("labels", "0001_initial")]

    operations = [MakeAppendOnly("labels_labelaction"), MakeAppendOnly("labels_labelevent")]

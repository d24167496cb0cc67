from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("labels", "0002_label_history_is_append_only")]

    operations = [
        # A label changes its class again and again. With room left in each page the new version lies beside the old one
        # and the key's index need not be touched (a heap-only update).
        migrations.RunSQL(
            "ALTER TABLE labels_label SET (fillfactor = 70)", "ALTER TABLE labels_label RESET (fillfactor)"
        )
    ]

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("traders", "0007_live_rules"),
    ]

    operations = [
        migrations.AddField(
            model_name="trader",
            name="account",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="Of a live trader, as its keys name it.", max_length=64
            ),
        ),
        migrations.AddField(
            model_name="trader",
            name="subaccount",
            field=models.PositiveSmallIntegerField(
                blank=True,
                help_text="Empty: the primary one.",
                null=True,
                validators=[django.core.validators.MaxValueValidator(63)],
            ),
        ),
        migrations.AddField(
            model_name="seriesrule",
            name="account",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="Of its live traders, as its keys name it.", max_length=64
            ),
        ),
        migrations.AddField(
            model_name="grant",
            name="subaccount",
            field=models.PositiveSmallIntegerField(help_text="Empty: the primary one.", null=True),
        ),
    ]

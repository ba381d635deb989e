from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("feed", "0005_live"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="accountbalance", options={"ordering": ["account", "subaccount", "exchange_index"]}
        ),
        migrations.RemoveConstraint(model_name="accountbalance", name="balance_once"),
        migrations.AddField(
            model_name="accountbalance", name="subaccount", field=models.IntegerField(db_default=0, default=0)
        ),
        migrations.AddConstraint(
            model_name="accountbalance",
            constraint=models.UniqueConstraint(
                fields=("account", "subaccount", "exchange_index"), name="balance_once"
            ),
        ),
    ]

from django.db import migrations, models

PARAMS = "Parameters by name; empty = defaults."


def by_side(apps, schema_editor):  # type: ignore[no-untyped-def]
    """Placements have a size a side now; the last seconds before the close are a guard's."""
    for strategy in apps.get_model("traders", "StrategySet").objects.all():
        params = strategy.placement_params
        if not isinstance(params, dict):
            continue
        count_cx = params.pop("count_cx", None)
        if count_cx is not None:
            params |= {"bid_cx": count_cx, "ask_cx": count_cx}
        last_quote_s = params.pop("last_quote_s", None)
        if last_quote_s is not None:
            strategy.guards = {"last_quote_s": last_quote_s}
        strategy.save()


class Migration(migrations.Migration):
    dependencies = [("traders", "0003_account_truth")]

    operations = [
        migrations.AlterField(
            model_name="strategyset",
            name="placement",
            field=models.CharField(default="join_best", help_text="Where it would like to rest.", max_length=64),
        ),
        migrations.AddField(
            model_name="strategyset",
            name="buffering",
            field=models.CharField(
                db_default="none",
                default="none",
                help_text="How it keeps distance from being filled.",
                max_length=64,
            ),
        ),
        migrations.AddField(
            model_name="strategyset",
            name="buffering_params",
            field=models.JSONField(blank=True, db_default={}, default=dict, help_text=PARAMS),
        ),
        migrations.AddField(
            model_name="strategyset",
            name="flattens",
            field=models.JSONField(
                blank=True,
                db_default=[],
                default=list,
                help_text="How it gets out of a position, asked in this order: "
                '[{"name": "passive_exit", "params": {}}, …]. Empty = never by itself.',
            ),
        ),
        migrations.AddField(
            model_name="strategyset",
            name="guards",
            field=models.JSONField(
                blank=True,
                db_default={},
                default=dict,
                help_text=f"When it does not quote, whatever its placement. {PARAMS}",
            ),
        ),
        migrations.AddField(
            model_name="strategyset",
            name="tolerances",
            field=models.JSONField(
                blank=True,
                db_default={},
                default=dict,
                help_text=f"What may differ from what it wants, for the sake of a place in the queue. {PARAMS}",
            ),
        ),
        migrations.AddField(
            model_name="trader",
            name="limits",
            field=models.JSONField(
                blank=True,
                db_default={},
                default=dict,
                help_text=f"What it may do at most. {PARAMS} The defaults are small.",
            ),
        ),
        migrations.AddField(
            model_name="trader",
            name="released_at",
            field=models.DateTimeField(editable=False, help_text="Limits that latched before are released.", null=True),
        ),
        migrations.AlterField(
            model_name="trader",
            name="desired",
            field=models.CharField(
                choices=[
                    ("running", "Running"),
                    ("paused", "Paused"),
                    ("flat", "Flat: out of its position"),
                    ("stopped", "Stopped"),
                ],
                default="running",
                max_length=8,
            ),
        ),
        migrations.RunPython(by_side, migrations.RunPython.noop),
    ]

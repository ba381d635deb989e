"""Template filters for every figure of a page; the formats are `markets.formatting`'s.

Three voids are kept apart: a template shows `0` for zero, `{% none %}` for missing or not applicable, and
`{% unknown "why" %}` for unknown. A filter is never given None.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from markets import formatting

register = template.Library()

EXCHANGE_ZONE = ZoneInfo("America/New_York")  # the zone in which the venue's schedules speak

register.filter("price", formatting.price)
register.filter("contracts", formatting.contracts)
register.filter("dollars", formatting.dollars)
register.filter("amount", formatting.amount)
register.filter("percent", formatting.percent)
register.filter("age", formatting.age)
register.filter("beat_age", formatting.beat_age)
register.filter("duration", formatting.duration)


@register.filter
def signed_contracts(count_cx: int) -> str:
    return formatting.contracts(count_cx, plus=True)


@register.filter
def result(value_ud: int) -> SafeString:
    """Return a gain or loss with its sign, and its direction as a class: never by colour alone."""
    return _directed(value_ud, formatting.amount(value_ud, plus=True))


@register.filter
def result_dollars(value_ud: int) -> SafeString:
    return _directed(value_ud, formatting.dollars(value_ud, plus=True))


def _directed(value_ud: int, text: str) -> SafeString:
    direction = "up" if value_ud > 0 else "down" if value_ud < 0 else ""
    return format_html('<span class="{}">{}</span>', direction, text)


@register.filter
def eastern(moment: datetime) -> str:
    """Return the exchange's clock time of a moment, `14:32:06`."""
    return moment.astimezone(EXCHANGE_ZONE).strftime("%H:%M:%S")


@register.filter
def utc(moment: datetime) -> str:
    """Return the exact moment for a hover text, `2026-11-22 19:32:06 UTC`."""
    return moment.astimezone(ZoneInfo("UTC")).strftime("%Y-%m-%d %H:%M:%S UTC")


@register.simple_tag
def none() -> SafeString:
    return mark_safe('<span class="dim">–</span>')


@register.simple_tag
def unknown(reason: str) -> SafeString:
    return format_html('<dfn class="unk" title="{}">?</dfn>', reason)

"""Hands beside the traders: the account's owner over REST with his own key, and people over the control port."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from feed.kalshi.signing import Signer
from tests.faults.truth import count_cx

WITHIN_S = 20.0


class Reply(NamedTuple):
    status: int
    body: Any


class OwnersHand:
    """Signed requests of one key, straight to the exchange: no budget, no repeating, no tap."""

    def __init__(self, rest_url: str, key_id: str, key_path: Path) -> None:
        self._rest = rest_url
        self.signer = Signer.from_file("local", key_id, key_path)

    def ask(self, method: str, path: str, body: object = None, **query: object) -> Reply:
        """Return status and body of one request below /trade-api/v2."""
        url = f"{self._rest}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = self.signer.headers(method, url, wall_ms=time.time_ns() // 1_000_000)
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:
                return Reply(answer.status, _decoded(answer.read()))
        except urllib.error.HTTPError as refused:
            return Reply(refused.code, _decoded(refused.read()))

    def must(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """Return the body of a request that has to succeed."""
        reply = self.ask(method, path, body, **query)
        assert reply.status < 300, f"{method} {path}: {reply}"
        return reply.body

    def public(self, path: str) -> Any:
        """Return what anybody may read: without a signature it costs the account nothing."""
        with urllib.request.urlopen(f"{self._rest}{path}", timeout=WITHIN_S) as answer:
            return json.loads(answer.read())

    # ---- order groups: the fence of a lease --------------------------------------------------------------------------

    def new_group(self, limit_cx: int, *, shard: int = 0) -> str:
        body = {"contracts_limit_fp": f"{limit_cx // 100}.{limit_cx % 100:02}", "exchange_index": shard}
        return str(self.must("POST", "/portfolio/order_groups/create", body)["order_group_id"])

    def trigger(self, group_id: str, *, shard: int = 0) -> None:
        """Cancel whatever rests in a group, and let nothing new into it; fail unless nothing rests then."""
        path = f"/portfolio/order_groups/{group_id}"
        self.must("PUT", f"{path}/trigger", {}, exchange_index=shard)
        assert self.must("GET", path)["orders"] == [], "nothing rests in a triggered group"

    def ahead_cx(self, order_id: str) -> int | None:
        """Return what matches before an order at its price; None when it does not rest."""
        reply = self.ask("GET", f"/portfolio/orders/{order_id}/queue_position")
        return count_cx(reply.body["queue_position_fp"]) if reply.status == 200 else None


def _decoded(content: bytes) -> Any:
    return json.loads(content) if content.startswith((b"{", b"[")) else content.decode(errors="replace")

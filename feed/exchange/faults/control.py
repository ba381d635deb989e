"""Faults on the control port: add, remove, list, and the log of those applied."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from feed.exchange.control_bodies import number, problem
from feed.exchange.faults.plan import FaultPlan
from feed.exchange.faults.script import BadFaultScript, read_faults
from feed.exchange.wire.answers import answer
from kalshimm.runtime.clock import Clock

WHAT_MAX = 500


def hand_log(plan: FaultPlan, clock: Clock) -> Middleware:
    """Return a middleware of the control port that logs what was done there beside faults; what was refused is not."""

    @web.middleware
    async def logged(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.method != "GET" and response.status < 300 and not request.path.startswith("/faults"):
            body = (await request.read()).decode(errors="replace")
            plan.note_hand(at_us=clock.wall_us(), what=f"{request.method} {request.path_qs} {body[:WHAT_MAX]}".rstrip())
        return response

    return logged


class FaultControl:
    """Handlers of /faults."""

    def __init__(self, plan: FaultPlan, clock: Clock) -> None:
        self._plan, self._clock = plan, clock

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/faults", self.armed),
            web.post("/faults", self.add),
            web.delete("/faults", self.remove),
            web.delete("/faults/{id}", self.remove),
            web.get("/faults/applied", self.applied),
        ]

    async def armed(self, _request: web.Request) -> web.Response:
        return answer({"faults": self._plan.armed()})

    async def add(self, request: web.Request) -> web.Response:
        """Arm the faults of a script, the body; answer their names."""
        try:
            faults = read_faults(await request.read(), "the body")
        except BadFaultScript as exc:
            return answer({"problem": str(exc)}, status=400)
        return answer({"ids": self._plan.add(faults, now_us=self._clock.wall_us())}, status=201)

    async def remove(self, request: web.Request) -> web.Response:
        return answer({"removed": self._plan.remove(request.match_info.get("id", ""))})

    async def applied(self, request: web.Request) -> web.Response:
        """Return faults applied, oldest first; `?after=N` those after number N, `?id=` those of one name."""
        try:
            after = number(request.query.get("after", "0"), "after")
        except ValueError as exc:
            return problem(exc)
        name = request.query.get("id", "")
        found = [a for a in self._plan.applied if a.number > after and name in ("", a.id)]
        return answer({"applied": found})

"""Caddy by its admin API: a server is out of traffic when it is not among the upstreams."""

import asyncio
import json
from typing import Any

import httpcore

from fraisier.providers.models import StepResult
from fraisier.providers.traffic.models import CaddyTraffic
from fraisier.providers.traffic.way import CALL_S, Way

OK, CHANGED_MEANWHILE = 200, 412
TRIES = 20
SHOWN = 300
LIMITS = {"timeout": {"connect": CALL_S, "read": CALL_S, "write": CALL_S, "pool": CALL_S}}

# FNV-1a, 32 bits.
FNV_OFFSET, FNV_PRIME, FNV_SIZE = 0x811C9DC5, 0x01000193, 0xFFFFFFFF


class Caddy:
    """All Caddies in front of a region.

    Args:
        options: which, and where their upstreams stand.
        way: how they are reached.
    """

    def __init__(self, options: CaddyTraffic, way: Way) -> None:
        self._options = options
        self._way = way

    async def drain(self, server: str, seconds: float) -> StepResult:
        """Take the server out everywhere, and give its requests their time.

        Caddy lets requests end that were under way, but does not tell when they have: the time is waited out, also
        when the server is out already, for a lost attempt may have taken it out a moment ago.
        """
        changed = await asyncio.gather(*(self._change(one, server, there=False) for one in self._options.admin))
        await asyncio.sleep(seconds)
        return StepResult(changed=any(changed), detail="drained")

    async def undrain(self, server: str, seconds: float) -> StepResult:  # noqa: ARG002 (Caddy uses it at once)
        """Put the server back everywhere."""
        changed = await asyncio.gather(*(self._change(one, server, there=True) for one in self._options.admin))
        return StepResult(changed=any(changed), detail="in traffic")

    async def _change(self, admin: str, server: str, *, there: bool) -> bool:
        path = f"/config/{self._options.upstreams}"
        for _ in range(TRIES):
            status, body = await self._call(admin, "GET", path)
            upstreams = self._read(admin, status, body)
            if (server in upstreams) == there:
                return False
            wanted = [*upstreams, server] if there else [one for one in upstreams if one != server]
            status, body = await self._call(
                admin, "PATCH", path, [{"dial": one} for one in wanted], match=etag(path, body)
            )
            if status == OK:
                return True
            if status != CHANGED_MEANWHILE:
                break
        raise self._way.refused(f"Caddy at {admin} does not change its upstreams: HTTP {status} {_shown(body)}")

    def _read(self, admin: str, status: int, body: bytes) -> list[str]:
        if status != OK:
            raise self._way.refused(f"Caddy at {admin} does not show its upstreams: HTTP {status} {_shown(body)}")
        found = json.loads(body) or []
        odd = [one for one in found if set(one) != {"dial"}]
        if odd:
            raise self._way.refused(
                f"Caddy at {admin} has an upstream with more than its dial, which would be lost: {odd[0]}"
            )
        return [one["dial"] for one in found]

    async def _call(
        self, admin: str, method: str, path: str, content: Any = None, match: str = ""
    ) -> tuple[int, bytes]:
        headers = [("Content-Type", "application/json")] + ([("If-Match", match)] if match else [])
        body = None if content is None else json.dumps(content).encode()
        try:
            async with httpcore.AsyncConnectionPool(network_backend=self._way.network) as pool:
                done = await pool.request(
                    method, admin.rstrip("/") + path, headers=headers, content=body, extensions=LIMITS
                )
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise self._way.unreachable(admin, str(error) or type(error).__name__) from error
        return done.status, done.content


def etag(path: str, body: bytes) -> str:
    """Caddy's own tag of a part of its configuration: it comes in a trailer, which the HTTP library does not show."""
    value = FNV_OFFSET
    for byte in body:
        value = ((value ^ byte) * FNV_PRIME) & FNV_SIZE
    return f'"{path} {value:08x}"'


def _shown(body: bytes) -> str:
    return body[:SHOWN].decode(errors="replace").strip()

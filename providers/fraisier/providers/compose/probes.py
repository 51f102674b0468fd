"""What a health check sees at a project: every service by its own check, and the probe at the service that it names."""

from urllib.parse import urlsplit, urlunsplit

from fraisier.providers.compose.project import Member, Project
from fraisier.providers.docker.probes import is_its_own
from fraisier.providers.docker.probes import probe_of as probe_of_container
from fraisier.providers.errors import CommandFailed, CommandUnknown, ConnectFailed
from fraisier.providers.health import Probe, Sighting
from fraisier.providers.models import HealthCheck


def probe_of(project: Project, check: HealthCheck, *, main: str | None, version: str) -> Probe:
    """The check's probe.

    Args:
        project: the project.
        check: what is asked; a host in it that is called as a service means that service.
        main: the service that loopback addresses and commands mean.
        version: see `HealthCheck.expect_version`.
    """

    async def look() -> Sighting:
        try:
            members = await project.members()
        except (ConnectFailed, CommandUnknown, CommandFailed) as error:
            return Sighting(passed=False, answered=False, detail=str(error))
        if not members:
            return Sighting(passed=False, answered=False, detail="no container of the project is there")
        amiss = next((seen for member in members if not (seen := member.seen()).passed), None)
        if amiss is not None:
            return amiss
        if check.docker:
            return _all_checked(members)
        member, inside = _addressed(check, members, main)
        if member is None:
            services = ", ".join(dict.fromkeys(one.service for one in members))
            return Sighting(passed=False, detail=f"the project has no service {main}; it has {services}")
        return await probe_of_container(project.engine, member.id, inside, version=version)()

    return look


def main_of(given: str | None, services: list[str], service: str) -> str:
    """The service that loopback addresses mean: the one that is given, the only one, or the release's namesake.

    >>> main_of(None, ["web", "db"], "web"), main_of(None, ["db"], "web"), main_of("db", ["web", "db"], "web")
    ('web', 'db', 'db')
    """
    return given or (services[0] if len(set(services)) == 1 else service)


def _all_checked(members: list[Member]) -> Sighting:
    checked = [member.service for member in members if member.has_check]
    if not checked:
        why = "no service has a health check of its own: give one a healthcheck, or check it by http, tcp or command"
        return Sighting(passed=False, detail=why)
    return Sighting(passed=True, detail=f"{', '.join(dict.fromkeys(checked))} healthy")


def _addressed(check: HealthCheck, members: list[Member], main: str | None) -> tuple[Member | None, HealthCheck]:
    """The container that a check means, and the check as seen from inside it."""
    host = urlsplit(check.http).hostname if check.http else (check.tcp or "").rpartition(":")[0]
    services = {member.service: member for member in members if not member.did_its_job}
    if host not in services or is_its_own(host):
        return services.get(main or ""), check
    if check.http:
        url = urlsplit(check.http)
        port = f":{url.port}" if url.port else ""
        inside = urlunsplit((url.scheme, f"127.0.0.1{port}", url.path, url.query, ""))
        return services[host], check.model_copy(update={"http": inside})
    return services[host], check.model_copy(update={"tcp": f"127.0.0.1:{(check.tcp or '').rpartition(':')[2]}"})

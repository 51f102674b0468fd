"""How a step on a real host loses whoever sent it: the network, the worker, sshd, the login."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from fraisier.providers.bare_metal import script
from fraisier.providers.errors import CommandUnknown, ConnectFailed
from fraisier.providers.models import ReleaseRef, Step
from tests.providers.by_hand import until
from tests.providers.systemd_bench import SystemdBench
from tests.support.systemd_hosts import SystemdHost

SOON_S = 90.0
# Where the steps that run are: "own" in a scope of their own, "login" in one of a login still.
PLACES = """
for step in $(pgrep -f 'fraisier [a-z]* root='); do
  if grep -q '^State:.T' /proc/$step/status; then continue; fi
  if grep -q 'fraisier-' /proc/$step/cgroup; then echo own; else echo login; fi
done
"""
WORKER = """\
import asyncio, json, sys
from fraisier.providers.bare_metal import BareMetalProvider
from fraisier.providers.models import Release, ReleaseRef, Step

async def main(config, verb, step, release):
    provider = BareMetalProvider(config, region="test")
    step = Step.model_validate(step)
    if verb == "rollback":
        await provider.rollback(step, ReleaseRef.model_validate(release))
    elif verb == "prune":
        await provider.prune(step, "api")
    elif verb == "hook":
        await provider.run_hook(step, tuple(release), timeout_s=60, heard=print)
    else:
        await getattr(provider, verb)(step, Release.model_validate(release))

asyncio.run(main(*json.loads(sys.argv[1])))
"""


@contextmanager
def lock_held(host: SystemdHost) -> Iterator[None]:
    """The host's lock in somebody else's hands, so that every step waits at its beginning."""
    hold = ["flock", "/opt/api/.fraisier/lock", "sh", "-c", "echo held; exec cat"]
    holder = subprocess.Popen(
        ["docker", "exec", "--interactive", host.container, *hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
    finally:
        holder.communicate()


def running(host: SystemdHost, verb: str) -> list[str]:
    """The steps of this kind on the host, each by its first process: a fork of it is called the same for a moment."""
    found = host.run("pgrep", "-f", f"fraisier {verb} root=", check=False).split()
    told = host.run("ps", "-o", "pid=,ppid=", "-p", ",".join(found), check=False) if found else ""
    parents = dict(line.split() for line in told.splitlines())
    return [pid for pid, parent in parents.items() if parent not in parents]


@asynccontextmanager
async def ghost(bench: SystemdBench, verb: str, arguments: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """An attempt that is frozen while it waits for the lock, and runs on when the block is over."""
    # One process, as sshd would have it: the shell that is frozen must be the one that acts.
    line = f"exec {script.command_line(arguments)}"
    command = ["docker", "exec", "--user", "deploy", bench.host.container, "sh", "-c", line]
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=pipe)
    await asyncio.wait_for(until(lambda: running(bench.host, verb)), SOON_S)
    frozen = running(bench.host, verb)
    bench.host.run("kill", "-STOP", *frozen)
    try:
        yield process
    finally:
        bench.host.run("kill", "-CONT", *frozen)


async def cut_by_network(host: SystemdHost, attempt: "asyncio.Task[Any]") -> None:
    """Nothing comes through in either direction, until both ends have given up."""
    host.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP")
    host.run("iptables", "-A", "OUTPUT", "-p", "tcp", "--sport", "22", "-j", "DROP")
    try:
        await lost(attempt)
    finally:
        host.run("iptables", "-F")


async def cut_by_sshd(host: SystemdHost, attempt: "asyncio.Task[Any]") -> None:
    host.run("sh", "-c", "kill -9 $(pgrep -x sshd)")
    await lost(attempt)
    host.run("systemctl", "reset-failed", "ssh.service")
    host.run("systemctl", "restart", "ssh.service")


async def cut_by_logout(host: SystemdHost, attempt: "asyncio.Task[Any]") -> None:
    """The login is ended with all that is in its scope, once the step has left that."""
    # Not merely "in no login": between two of its programs a process has no command line, and is not found at all.
    await asyncio.wait_for(until(lambda: set(host.run("sh", "-c", PLACES).split()) == {"own"}), SOON_S)
    host.run("sh", "-c", "loginctl --no-legend list-sessions | awk '{ print $1 }' | xargs loginctl terminate-session")
    await lost(attempt)


async def lost(attempt: "asyncio.Task[Any]") -> None:
    """Until the attempt knows that it does not know."""
    done, _ = await asyncio.wait({attempt}, timeout=SOON_S)
    assert done
    assert isinstance(attempt.exception(), CommandUnknown | ConnectFailed), attempt


@asynccontextmanager
async def worker_of(
    bench: SystemdBench, verb: str, step: Step, about: dict[str, Any] | list[str]
) -> AsyncIterator[None]:
    """A process of its own that sends the step, and is killed at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, json.dumps([bench.config(keep_releases=2), verb, step.model_dump(), about])
    )
    try:
        yield
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()


def plain(release: ReleaseRef) -> dict[str, Any]:
    return json.loads(release.model_dump_json())

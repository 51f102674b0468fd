"""Builds the command line of a step and reads its answer. Pure: nothing here talks to a host."""

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from urllib.parse import quote, unquote

from fraisier.providers.bare_metal.limits import compact
from fraisier.providers.bare_metal.options import BareMetalOptions
from fraisier.providers.migrations.models import MigrationOrder
from fraisier.providers.models import FencingToken, ReleaseRef, Step, TargetState

COMMON = ("limit.sh", "ground.sh", "login.sh")
PARTS = {
    "inspect": ("touched.sh", "look.sh"),
    "preflight": ("touched.sh", "look.sh"),
    "stage": ("touched.sh", "release.sh", "prune.sh"),
    "activate": ("service.sh", "switch.sh"),
    "rollback": ("service.sh", "switch.sh"),
    "hook": ("hook.sh",),
    "prune": ("prune.sh",),
    "fence": (),
}
"""The shell files of each verb, beside the common ones. A host reads all that it is sent, at each step."""
LOOKS = ("inspect", "preflight")
"""The verbs that change nothing, and so may end with their connection."""

LOCK_SHARE = 0.2
"""How much of its time a step may wait for the lock. Its holder lives, since the kernel frees a dead one's lock."""

MINIMUM_FREE_KB = 64 * 1024
"""The free space without which a host is not fit to take any release, in KB."""

DIGEST_SHOWN = 12
SHOWN = 500
"""How much of an answer that cannot be read is shown, in characters."""

NEWLINE = b"\n"
QUOTED, BACKSLASHED = re.compile(r'["\\$`]'), r"\\\g<0>"
"""What a backslash stands before in double quotes, for a shell and for systemd."""


def release_name(release: ReleaseRef) -> str:
    """The release's folder on the host: its version and the start of its digest."""
    return f"{release.version}-{release.digest.removeprefix('sha256:')[:DIGEST_SHOWN]}"


def root_of(options: BareMetalOptions, service: str) -> str:
    """The folder of the service on the host."""
    return (options.root or f"/opt/{service}").rstrip("/")


def look(verb: str, options: BareMetalOptions, service: str, *, room: int = 0) -> list[str]:
    """The arguments of ``inspect`` and ``preflight``, which change nothing and need no token.

    Args:
        verb: which of them.
        options: the target's.
        service: whose folder is looked at.
        room: what a release takes while it is unpacked, in bytes.
    """
    return [
        verb,
        f"root={root_of(options, service)}",
        f"need_kb={MINIMUM_FREE_KB + room // 1024}",
        f"unit={options.service_unit or ''}",
        f"scope={options.scope}",
        f"sudo={'yes' if options.sudo else 'no'}",
        f"units={options.units or ''}",
        "shared_files=" + "\n".join(options.shared.files),
    ]


def act(
    verb: str, options: BareMetalOptions, step: Step, release: ReleaseRef | None, *, environment: bytes = b""
) -> list[str]:
    """The arguments of a verb that changes the host; `environment` is what its stdin begins with."""
    seconds = options.step_timeout.total_seconds()
    arguments = [
        *look(verb, options, step.service),
        f"step={quote(step.id, safe='')}",
        f"generation={step.token.generation}",
        f"ordinal={step.token.ordinal}",
        f"attempt={step.token.attempt}",
        f"keep={options.keep_releases}",
        f"start={shlex.join(options.start_command or ())}",
        f"stop={shlex.join(options.stop_command or ())}",
        f"lock_wait={max(1, int(seconds * LOCK_SHARE))}",
        f"time_limit={max(1, int(seconds * (1 - LOCK_SHARE)))}",
    ]
    if release is not None:
        arguments += [
            f"release={release_name(release)}",
            f"version={release.version}",
            f"digest={release.digest}",
            "shared_folders=" + "\n".join(options.shared.folders),
        ]
    if environment:
        arguments.append(f"environment={environment.count(NEWLINE)}")
    return arguments


def migration(options: BareMetalOptions, order: MigrationOrder) -> list[str]:
    """The arguments of a migration's command: a hook that leaves a mark for its database and release."""
    seconds = max(1, round(order.timeout_s))
    return [
        *act("hook", options, order.step, order.release),
        f"hook={shlex.join(order.argv)}",
        f"time_limit={seconds}",
        f"lock_wait={seconds}",
        f"phase={order.phase}",
        f"mark={order.database}.{release_name(order.release)}",
        f"tied={'yes' if order.tied else 'no'}",
    ]


def environment_file(values: Mapping[str, str]) -> bytes:
    r"""Variables as lines that systemd's ``EnvironmentFile`` and a shell read alike; nothing where there are none.

    >>> environment_file({"A": 'it "costs" $5'})
    b'A="it \\"costs\\" \\$5"\n'
    """
    lines = [f'{name}="{QUOTED.sub(BACKSLASHED, value)}"\n' for name, value in sorted(values.items())]
    return "".join(lines).encode(errors="surrogateescape")


def command_line(arguments: Sequence[str]) -> str:
    """The one string that SSH takes, quoted once: the verb's script and its arguments, the verb being the first."""
    return f"{_program(arguments[0])} {shlex.join(arguments)}"


@cache
def _program(verb: str) -> str:
    begun = [f"do_{verb}"] if verb in LOOKS else ["detach", f"do_{verb}"]
    return shlex.join(["sh", "-c", "\n".join((*map(compact, (*COMMON, *PARTS[verb])), *begun)), "fraisier"])


def answers(output: str) -> list[tuple[str, str]]:
    """The script's answers as (word, rest), without whatever the host's start files printed between."""
    lines = (line.split(" ", 2) for line in output.splitlines() if line.startswith("fraisier "))
    return [(words[1], words[2] if len(words) > 2 else "") for words in lines]  # noqa: PLR2004 (word and rest)


def problems(output: str) -> tuple[str, ...]:
    """What ``preflight`` found wrong."""
    return tuple(rest for word, rest in answers(output) if word == "problem")


def clock(output: str) -> int | None:
    """What ``preflight`` found the host's clock to say, in seconds since 1970."""
    told = dict(answers(output)).get("clock", "")
    return int(told) if told.isdigit() else None


def kept(output: str) -> tuple[int, int] | None:
    """How many releases ``stage`` left on the host at most, the new one among them, and how many it removed."""
    told = dict(answers(output)).get("kept", "").split()
    return (int(told[0]), int(told[1])) if len(told) == 2 and all(map(str.isdigit, told)) else None  # noqa: PLR2004


def systemctl(options: BareMetalOptions, *arguments: str) -> list[str]:
    """A question to the manager that runs the service's unit."""
    if options.scope == "system":
        return ["systemctl", *arguments]
    find = 'export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"; exec systemctl --user "$@"'
    return ["sh", "-c", find, "systemctl", *arguments]


def last_lines(options: BareMetalOptions, service: str, lines: int) -> list[str]:
    """What prints the last lines that the service wrote."""
    if options.service_unit is None:
        return ["tail", "-n", str(lines), f"{root_of(options, service)}/.fraisier/service.log"]
    kind = "--unit" if options.scope == "system" else "--user-unit"
    return ["journalctl", kind, options.service_unit, "--lines", str(lines), "--no-pager", "--output", "cat"]


class Garbled(ValueError):
    """The host answered what the script never says: something else wrote into its output or its files."""


def state(output: str) -> TargetState:
    """What ``inspect`` found.

    Raises:
        Garbled: it cannot be read; the message shows it.
    """
    try:
        return _state(output)
    except (ValueError, OverflowError, OSError) as error:
        told = "; ".join(line for line in output.splitlines() if line.startswith("fraisier "))
        raise Garbled(f"cannot make sense of {told[:SHOWN]!r}: {error}") from error


def _state(output: str) -> TargetState:
    found = dict(answers(output))
    kept = {
        name: _ref(rest) for name, rest in (rest.split(" ", 1) for word, rest in answers(output) if word == "release")
    }
    running = found.get("current", "")
    since, _, step_id = found.get("since", "").partition(" ")
    return TargetState(
        release=kept.get(running),
        rollout_id=unquote(step_id).rsplit(".", 3)[0] or None,
        since=datetime.fromtimestamp(int(since), tz=timezone.utc) if since else None,
        kept=tuple(ref for name, ref in kept.items() if name != running),
        token=_token(found["token"]) if "token" in found else None,
        drift=tuple(rest for word, rest in answers(output) if word == "drift"),
    )


def _ref(text: str) -> ReleaseRef:
    version, digest = text.split(" ")
    return ReleaseRef(version=version, digest=digest)


def _token(text: str) -> FencingToken:
    generation, ordinal, attempt = (int(number) for number in text.split(" "))
    return FencingToken(generation=generation, ordinal=ordinal, attempt=attempt)

"""What the stack remembers of itself, so that every command finds it."""

import os
import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, field_serializer

from fraisier.orchestrator.stack.errors import StackError
from fraisier.orchestrator.stack.process import Process


class Addresses(BaseModel):
    """Where the stack listens, and the credentials that it was given.

    Attributes:
        nats_port: NATS clients connect here.
        monitor_port: NATS's monitoring page.
        temporal_port: Temporal's gRPC frontend.
        ui_port: Temporal's web UI.
        user: the NATS user.
        password: the NATS password, made for this stack.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    nats_port: int
    monitor_port: int
    temporal_port: int
    ui_port: int
    user: str = "fraisier"
    password: SecretStr

    @field_serializer("password", when_used="json")
    def _reveal(self, password: SecretStr) -> str:
        """Only the file of mode 0600 is written as JSON."""
        return password.get_secret_value()


class Member(BaseModel):
    """One process of the stack.

    Attributes:
        name: ``nats``, ``temporal`` or ``worker``.
        process: which process it is.
        log: the file that holds its output.
        grace_s: seconds that it may take to end before it is killed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    process: Process
    log: Path
    grace_s: float


class StackState(BaseModel):
    """The stack's memory: ``stack.json``.

    Attributes:
        addresses: kept over down and up, so that open pages and shells go on working.
        members: the processes, in the order in which they were started.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    addresses: Addresses
    members: tuple[Member, ...] = ()

    def member(self, name: str) -> Member | None:
        """The member of that name, if it was started."""
        return next((member for member in self.members if member.name == name), None)

    def with_member(self, member: Member) -> "StackState":
        """The same with one member added, or replaced in its place."""
        members = {known.name: known for known in self.members} | {member.name: member}
        return self.model_copy(update={"members": tuple(members.values())})


def load(file: Path) -> StackState | None:
    """Read the stack's memory; None when there is none.

    Raises:
        StackError: the file is not one that this version wrote.
    """
    if not file.exists():
        return None
    try:
        return StackState.model_validate_json(file.read_bytes())
    except ValueError as error:
        raise StackError(f"{file} cannot be read: remove it once no process of the stack runs any more") from error


def save(file: Path, state: StackState) -> None:
    """Write the stack's memory, readable by its owner only, whole or not at all."""
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(state.model_dump_json(indent=2))
    fresh.replace(file)

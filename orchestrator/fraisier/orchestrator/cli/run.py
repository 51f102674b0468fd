"""How a command runs: its environment, its log, and its errors as one message and an exit code."""

import logging
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn

import typer

from fraisier.orchestrator.errors import CommandError, ExitCode

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def run(work: Coroutine[Any, Any, ExitCode | None]) -> NoReturn:
    """Run a command's work and exit with its code; errors that people can act on become one message."""
    import asyncio  # noqa: PLC0415

    from fraisier.orchestrator.settings import adopt_environment  # noqa: PLC0415

    try:
        adopt_environment()
        _log()
        code = asyncio.run(_stoppable(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except CommandError as error:
        fail(str(error), error.code)
    except Exception as error:
        known = _explained(error)
        if known is None:
            raise
        fail(*known)
    finally:
        work.close()  # it may never have begun
    raise typer.Exit(code or ExitCode.OK)


def _log() -> None:
    level = os.environ.get("FRAISIER_LOG_LEVEL", "WARNING").upper()
    if level not in LEVELS:
        fail(f"FRAISIER_LOG_LEVEL={level} is no level; use one of {', '.join(LEVELS)}", ExitCode.INVALID)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)


async def _stoppable(work: Coroutine[Any, Any, ExitCode | None]) -> ExitCode | None:
    """Let SIGTERM and a closed terminal end the work as ^C does, so that what it started ends too."""
    import asyncio  # noqa: PLC0415

    task = asyncio.current_task()
    assert task is not None  # noqa: S101
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup asked for it
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work


def fail(message: str, code: ExitCode) -> NoReturn:
    """Say what went wrong on stderr, and exit."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


def _explained(error: Exception) -> tuple[str, ExitCode] | None:
    from pydantic import ValidationError  # noqa: PLC0415
    from temporalio.service import RPCError  # noqa: PLC0415

    from fraisier.nats import EventError  # noqa: PLC0415
    from fraisier.nats.config import ConfigInvalid  # noqa: PLC0415
    from fraisier.orchestrator.launcher import fraisier_home  # noqa: PLC0415
    from fraisier.orchestrator.launcher.errors import LauncherError  # noqa: PLC0415
    from fraisier.orchestrator.stack.errors import StackError  # noqa: PLC0415
    from fraisier.workflows.manifest.errors import ManifestInvalid  # noqa: PLC0415
    from fraisier.workflows.payloads import PayloadUnreadable  # noqa: PLC0415

    if isinstance(error, ManifestInvalid | ConfigInvalid | PayloadUnreadable):
        return str(error), ExitCode.INVALID
    if isinstance(error, RPCError):
        return f"Temporal answered: {error}. Is a worker running (fraisier doctor)?", ExitCode.UNREACHABLE
    if isinstance(error, ConnectionError):
        return str(error), ExitCode.UNREACHABLE
    if isinstance(error, OSError) and _of_home(error):
        why = f"FRAISIER_HOME={fraisier_home()} cannot be used: {error.strerror}: {error.filename}"
        return f"{why}. Set it to a folder that you may write to", ExitCode.INVALID
    if isinstance(error, EventError | LauncherError | StackError) and not isinstance(error, ValidationError):
        return str(error), ExitCode.FAILED
    return None


def _of_home(error: OSError) -> bool:
    """Whether it is about Fraisier's home folder, what is in it, or what it is in."""
    from fraisier.orchestrator.launcher import fraisier_home  # noqa: PLC0415

    home, path = fraisier_home(), Path(str(error.filename or ""))
    return error.filename is not None and (path.is_relative_to(home) or home.is_relative_to(path))

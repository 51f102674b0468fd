"""What every benchmark is as a command: its help, what it tells meanwhile, and how a signal ends it."""

import argparse
import logging
import signal
import sys
from collections.abc import Callable

INTERRUPTED = 130
"""The status that shells give to what ^C ended."""


def command_line(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the benchmark's docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def tell(line: str) -> None:
    """Say at once what goes on, also into a pipe: a server may have to be fetched or built, which takes minutes."""
    print(line, flush=True)


def interruptible(benchmark: Callable[[], None]) -> None:
    """Run it; SIGTERM ends it as ^C does, so that the hosts and servers that it started end too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # which asyncio takes over as it runs
    try:
        benchmark()
    except KeyboardInterrupt:
        logging.disable()  # asyncio would tell of every workflow that is left where it was
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)

"""``python -m fraisier.nats.catalogue``: show the catalogue's page; or, given a file, write it there and lock."""

import argparse
import sys
from pathlib import Path

from fraisier.nats.catalogue import CATALOGUE
from fraisier.nats.catalogue.lock import LOCK, broken, read_lock, snapshot, write_lock
from fraisier.nats.catalogue.page import page


def main() -> int:
    """Exit code 1: something that was locked is gone or narrowed; nothing is written."""
    parser = argparse.ArgumentParser(prog="python -m fraisier.nats.catalogue", description="The event catalogue.")
    parser.add_argument("page", nargs="?", type=Path, help="write the page here and what is new into the lock file")
    to = parser.parse_args().page
    if to is None:
        sys.stdout.write(page())
        return 0
    now = snapshot(CATALOGUE)
    wrong = broken(read_lock(), now)
    if wrong:
        sys.stderr.write("\n".join(wrong) + "\n")
        sys.stderr.write(
            "Stored events have these. Give the type another version: one more model behind its others in `payloads`. "
            f"To break with the past nevertheless, take the entry out of {LOCK}.\n"
        )
        return 1
    write_lock(now)
    to.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())

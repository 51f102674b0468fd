"""Where Fraisier keeps what it makes on this machine."""

import os
from pathlib import Path


def fraisier_home() -> Path:
    """The home folder: ``$FRAISIER_HOME``, or ``~/.fraisier``.

    Inside, ``bin`` caches servers and ``stack`` belongs to the local stack.
    """
    given = os.environ.get("FRAISIER_HOME")
    return Path(given).expanduser().absolute() if given else Path.home() / ".fraisier"

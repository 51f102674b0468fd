"""``python -m fraisier.orchestrator`` is the ``fraisier`` command."""

from fraisier.orchestrator.cli import main

main()

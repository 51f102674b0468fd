"""What the worker and the guard say to each other."""

from pydantic import Field

from fraisier.providers.migrations.models import MigrationOrder, MigrationResult
from fraisier.providers.models import Model


class GuardOrder(Model):
    """What the guard is told; never stored.

    Attributes:
        dsn: of the database.
        environment: more variables for the command.
        hidden: values that must not be shown.
    """

    order: MigrationOrder
    dsn: str
    environment: dict[str, str] = Field(default_factory=dict)
    hidden: tuple[str, ...] = ()


class Word(Model):
    """What the guard tells: what the command wrote so far, or at last how it ended.

    Attributes:
        error: the class of the error that it ended with.
        message: what that says.
    """

    said: str = ""
    result: MigrationResult | None = None
    error: str = ""
    message: str = ""
    exit_status: int | None = None
    tail: str = ""

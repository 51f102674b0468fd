"""What a manifest may say about commands of its own around a rollout."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from fraisier.providers.duration import Duration
from fraisier.providers.models import Model

Moment = Literal["before", "after", "on_failure", "on_rollback"]
Scope = Literal["region", "batch", "target"]


def filled(argv: tuple[str, ...], names: dict[str, str]) -> tuple[str, ...]:
    """An argument list whose ``{name}`` were replaced by what they stand for; others stay as they are."""
    found = []
    for argument in argv:
        text = argument
        for name, value in names.items():
            text = text.replace(f"{{{name}}}", value)
        found.append(text)
    return tuple(found)


class Hook(Model):
    """One command.

    Attributes:
        run: an argument list; ``{target}``, ``{region}``, ``{service}``, ``{version}`` and ``{rollout}`` in an
            argument stand for their names.
        on: ``host``, in the service's folder there, or ``worker``. A hook of a batch or a region runs once: on its
            first host.
        timeout: how long it may take.
    """

    run: Annotated[tuple[str, ...], Field(min_length=1)]
    on: Literal["host", "worker"] = "host"
    timeout: Duration = timedelta(minutes=5)

    def argv(self, names: dict[str, str]) -> tuple[str, ...]:
        """The argument list with its names filled in.

        >>> Hook(run=("purge", "--host={target}")).argv({"target": "a.example"})
        ('purge', '--host=a.example')
        """
        return filled(self.run, names)


class Moments(Model):
    """When hooks run, each list in its order.

    Attributes:
        before: before anything changes; one that fails keeps it from changing.
        after: once it is done and healthy; one that fails is a failure.
        on_failure: after it has failed.
        on_rollback: after it was taken back.
    """

    before: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()
    on_failure: tuple[Hook, ...] = ()
    on_rollback: tuple[Hook, ...] = ()


class Hooks(Model):
    """The hooks of a region: around all of it, around each batch, and around each target."""

    region: Moments = Moments()
    batch: Moments = Moments()
    target: Moments = Moments()

    def at(self, scope: Scope, moment: Moment) -> tuple[Hook, ...]:
        """The hooks of a moment."""
        moments: Moments = getattr(self, scope)
        found: tuple[Hook, ...] = getattr(moments, moment)
        return found

    def all(self) -> tuple[Hook, ...]:
        """Every hook."""
        return tuple(
            hook
            for moments in (self.region, self.batch, self.target)
            for part in (moments.before, moments.after, moments.on_failure, moments.on_rollback)
            for hook in part
        )

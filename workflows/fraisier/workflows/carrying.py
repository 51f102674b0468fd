"""What a rollout's workflow hands over to its next run, so that nothing is forgotten on the way."""

from typing import Any, ClassVar

from pydantic import Field, TypeAdapter

from fraisier.providers.models import Model


class Position(Model):
    """Where a rollout's workflow goes on.

    Attributes:
        wave: the number of the wave; 0 before the first one.
        pending: the regions of it that are still to start; None for all.
        generation: of the wave, when it has begun.
        requeue: whether what was left behind is tried once more.
        failure: why the rollout failed, while what it touched goes back.
        back: the regions that go back for it.
        left: by region, what could not be taken back so far.
    """

    wave: int = 0
    pending: tuple[str, ...] | None = None
    generation: int | None = None
    requeue: bool = False
    failure: str | None = None
    back: tuple[str, ...] = ()
    left: dict[str, str] = Field(default_factory=dict)


class Carried:
    """A part of a rollout that is rebuilt in the workflow's next run as it was in the one before."""

    KEPT: ClassVar[dict[str, Any]]
    """By attribute, its type: of a mapping ``list[tuple[K, V]]``, for not every key is a text, and of a set a list.

    Whatever is not in here the next run makes anew.
    """

    def carry(self) -> dict[str, Any]:
        """What is handed over, as JSON has it."""
        return {
            name: TypeAdapter(kind).dump_python(_listed(getattr(self, name)), mode="json")
            for name, kind in self.KEPT.items()
        }

    def recall(self, carried: dict[str, Any]) -> None:
        """Be as the run before was. What an older Fraisier did not hand over stays as it is made."""
        for name, kind in self.KEPT.items():
            if name in carried:
                value = TypeAdapter(kind).validate_python(carried[name])
                now = getattr(self, name)
                setattr(self, name, type(now)(value) if isinstance(now, dict | set) else value)


def _listed(value: Any) -> Any:
    return list(value.items()) if isinstance(value, dict) else sorted(value) if isinstance(value, set) else value

"""Any other proxy, by two commands."""

from fraisier.providers.models import StepResult
from fraisier.providers.traffic.models import CommandTraffic
from fraisier.providers.traffic.way import Way

SERVER = "{server}"
TAIL_SHOWN = 1000


class Commands:
    """The proxies that two commands look after.

    Args:
        options: the commands.
        way: where they run.
    """

    def __init__(self, options: CommandTraffic, way: Way) -> None:
        self._options = options
        self._way = way

    async def drain(self, server: str, seconds: float) -> StepResult:
        """Run the drain command; one that does not end in time fails the step."""
        return await self._run(self._options.drain, server, seconds)

    async def undrain(self, server: str, seconds: float) -> StepResult:
        """Run the undrain command; one that does not end in time fails the step."""
        return await self._run(self._options.undrain, server, seconds)

    async def _run(self, command: tuple[str, ...], server: str, seconds: float) -> StepResult:
        argv = tuple(argument.replace(SERVER, server) for argument in command)
        status, said = await self._way.run(argv, seconds)
        if status != 0:
            raise self._way.refused(f"{argv[0]} ended with {status}: {said.strip()[-TAIL_SHOWN:] or 'it said nothing'}")
        return StepResult(changed=True, detail=f"{argv[0]} ended with 0")

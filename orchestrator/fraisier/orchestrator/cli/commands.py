"""A command that is looked for in the wrong place is named in its own."""

from typing import Any

from typer.core import TyperGroup


class Commands(TyperGroup):
    """The top level: whoever forgets a command's group is told of it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # Any: typer keeps the types to itself
        """As ever, but for a name that only groups have."""
        name = args[0] if args else ""
        homes = [group for group, one in self.commands.items() if isinstance(one, TyperGroup) and name in one.commands]
        if homes and name not in self.commands:
            meant = " or ".join(f"'{home} {name}'" for home in homes)
            ctx.fail(f"No such command '{name}'. Did you mean {meant}?")
        return super().resolve_command(ctx, args)

"""What is said of a command that is not there."""

import pytest
from typer.testing import CliRunner

from fraisier.orchestrator.cli import app


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("watch", "No such command 'watch'. Did you mean 'rollout watch'?"),
        ("status", "No such command 'status'. Did you mean 'rollout status' or 'freeze status'?"),
        ("rolback", "No such command 'rolback'. Did you mean 'rollback'?"),
        ("nothing-like-it", "No such command 'nothing-like-it'."),
    ],
)
def test_a_command_that_is_not_there_is_looked_for_in_the_groups(typed: str, said: str) -> None:
    result = CliRunner().invoke(app, [typed, "api"])
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr

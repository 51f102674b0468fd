"""Every Python example of the events' guide, run as it stands there against a live server."""

import ast
import inspect
import re
import types
from pathlib import Path

import pytest

from fraisier.nats.handlers import handler_config
from tests.support.nats import PASSWORD, USER, NatsServer

GUIDE = Path(__file__).parents[1] / "docs" / "events.md"


def examples() -> list[object]:
    """The examples, named by the section that they stand in."""
    sections = GUIDE.read_text().split("\n## ")[1:]
    return [
        pytest.param(code, id=section.splitlines()[0])
        for section in sections
        for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    ]


@pytest.mark.parametrize("code", examples())
async def test_an_example_does_what_it_says(
    code: str, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"SERVERS": nats_server.url, "USERNAME": USER, "PASSWORD": PASSWORD}.items():
        monkeypatch.setenv(f"NATS_{name}", value)
    monkeypatch.chdir(tmp_path)
    handler_config.cache_clear()
    run = types.FunctionType(compile(code, str(GUIDE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), {"__name__": "example"})
    result = run()
    if inspect.iscoroutine(result):
        await result


def test_every_section_of_the_guide_has_its_place_in_the_contents() -> None:
    text = GUIDE.read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    links = re.findall(r"\[([^\]]+)\]\(#([a-z-]+)\)", text.split("## ")[0])
    assert [name for name, _ in links] == headings
    assert [anchor for _, anchor in links] == [name.lower().replace(" ", "-") for name in headings]

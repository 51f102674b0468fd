"""Builds a pinned version from source with Go, verified by Go's checksum database."""

import os
from pathlib import Path

from fraisier.orchestrator.launcher.progress import Progress, elapsed
from fraisier.orchestrator.launcher.run import run
from fraisier.orchestrator.launcher.toolchain import go_toolchain
from fraisier.orchestrator.launcher.versions import Program

WAIVERS = ("GONOSUMDB", "GONOSUMCHECK", "GOPRIVATE", "GOINSECURE", "GOFLAGS")
"""Variables by which a machine may switch the checksum database off for some modules."""


async def build(program: Program, folder: Path, progress: Progress) -> Path:
    """Build the pinned version; everything that it needs and leaves stays below `folder`.

    Returns:
        The executable.

    Raises:
        WayFailed: no toolchain, no modules, or the build failed.
    """
    go = await go_toolchain(folder / "toolchain", progress)
    env = await build_environment(go, folder)
    async with elapsed(progress, f"{program.name}: building version {program.version} with Go, some minutes"):
        if program.tool:
            await _build_tool(go, program, folder, env)
        else:
            await run([go, "install", f"{program.package}@v{program.version}"], env=env, cwd=folder)
    return _only_file(folder / "bin") if not program.tool else folder / "bin" / program.name


async def build_environment(go: str, folder: Path) -> dict[str, str]:
    """A build environment of its own: the machine's module proxy, our folders, checksums on."""
    proxy = (await run([go, "env", "GOPROXY"])).strip()
    env = {name: value for name, value in os.environ.items() if name not in WAIVERS}
    return env | {
        "GOENV": "off",
        "GOPROXY": proxy,
        "GOSUMDB": "sum.golang.org",
        "GOTOOLCHAIN": "auto",
        "GOPATH": str(folder / "gopath"),
        "GOCACHE": str(folder / "gocache"),
        "GOBIN": str(folder / "bin"),
        "GOFLAGS": "-modcacherw -trimpath",  # a read-only module cache could not be removed
        "CGO_ENABLED": "0",  # needs no C compiler, and runs in an empty container
    }


async def _build_tool(go: str, program: Program, folder: Path, env: dict[str, str]) -> None:
    """Build by way of a module of our own: ``go install`` refuses modules that replace others."""
    module = folder / "module"
    module.mkdir()
    await run([go, "mod", "init", "fraisier.invalid/tool"], env=env, cwd=module)
    await run([go, "get", "-tool", f"{program.package}@v{program.version}"], env=env, cwd=module)
    stamp = f"-ldflags=-X {program.stamp}=v{program.version}"
    await run([go, "build", stamp, "-o", str(folder / "bin" / program.name), program.package], env=env, cwd=module)


def _only_file(folder: Path) -> Path:
    (only,) = folder.iterdir()
    return only

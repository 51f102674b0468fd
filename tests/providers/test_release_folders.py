"""What a release is made of on its host: what arrives is safe, what is shared stays, its environment goes with it."""

import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from fraisier.providers.bare_metal import BareMetalOptions, script
from fraisier.providers.errors import ArtifactRejected, CommandFailed, PreflightFailed, SecretMissing
from fraisier.providers.models import FencingToken, Release, Step
from fraisier.providers.testing import Rollout
from tests.providers.by_hand import connected, uploading
from tests.providers.ssh_bench import START, SshBench
from tests.support.releases import digest_of

Entries = Callable[[tarfile.TarFile], None]


def release_of(folder: Path, version: str, write: Entries) -> Release:
    artifact = folder / f"{version}.tar.gz"
    with tarfile.open(artifact, "w:gz") as archive:
        write(archive)
    return Release(service="api", version=version, digest=digest_of(artifact), artifact=artifact)


def entry(name: str, content: bytes = b"", **changed: object) -> Entries:
    def write(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for key, value in changed.items():
            setattr(info, key, value)
        archive.addfile(info, io.BytesIO(content))

    return write


def together(*parts: Entries) -> Entries:
    def write(archive: tarfile.TarFile) -> None:
        for part in parts:
            part(archive)

    return write


def link(name: str, aim: str) -> Entries:
    return entry(name, type=tarfile.SYMTYPE, linkname=aim)


UNSAFE = {
    "above": entry("../above", b"x"),
    "absolute": entry("/tmp/fraisier-absolute", b"x"),
    "absolute link": link("a", "/etc/passwd"),
    "link above": link("a/b", "../../above"),
    "dangling link above": link("a", "../../no/such/place"),
    "link by way of a link": together(link("b", "."), link("a", "b/..")),
    "pipe": entry("a", type=tarfile.FIFOTYPE),
    "set-id program": entry("a", b"x", mode=0o4755),
}


@pytest.mark.parametrize("what", UNSAFE)
async def test_what_is_unsafe_is_refused_by_the_worker_and_by_the_host(ssh_bench: SshBench, tmp_path: Path, what: str):
    release = release_of(tmp_path, "6.6.6", UNSAFE[what])
    provider, rollout = await connected(ssh_bench), Rollout(ssh_bench, generation=1)
    with pytest.raises(ArtifactRejected):
        await provider.stage(rollout.step("stage"), release)
    assert not ssh_bench.root.exists()
    async with uploading(ssh_bench, rollout, release) as process:
        process.stdin.write(release.artifact.read_bytes())
        process.stdin.write_eof()
        done = await process.wait()
    assert (done.exit_status, done.stdout.splitlines()) == (65, [b"fraisier refused 65", b"fraisier ended 65"]), done
    assert b"artifact" in done.stderr
    assert not [*(ssh_bench.root / "releases").iterdir(), *(ssh_bench.root / ".fraisier" / "incoming").iterdir()]
    assert not Path("/tmp/fraisier-absolute").exists()
    await provider.disconnect()


async def test_what_arrives_with_another_digest_is_not_even_unpacked(ssh_bench: SshBench, tmp_path: Path):
    wanted, other = ssh_bench.release("1.0.0"), release_of(tmp_path, "2.0.0", entry("file", b"x"))
    async with uploading(ssh_bench, Rollout(ssh_bench, generation=1), wanted) as process:
        process.stdin.write(other.artifact.read_bytes())
        process.stdin.write_eof()
        done = await process.wait()
    assert (done.exit_status, done.stdout.splitlines()[0]) == (65, b"fraisier refused 65")
    assert other.digest.encode() in done.stderr
    assert not [*(ssh_bench.root / "releases").iterdir(), *(ssh_bench.root / ".fraisier" / "incoming").iterdir()]


async def test_links_that_stay_inside_are_welcome(ssh_bench: SshBench, tmp_path: Path):
    inside = together(entry("a/file", b"x"), link("a/link", "file"), link("b", "a/../a"), link("later", "run/../x"))
    release = release_of(tmp_path, "1.0.0", inside)
    provider = await connected(ssh_bench)
    await provider.stage(Rollout(ssh_bench, generation=1).step("stage"), release)
    assert (ssh_bench.root / "releases" / script.release_name(release) / "b" / "link").read_text() == "x"
    await provider.disconnect()


async def test_what_is_unpacked_belongs_to_who_deploys_with_sane_modes(ssh_bench: SshBench, tmp_path: Path):
    strange = together(
        entry("open", type=tarfile.DIRTYPE, mode=0o777, uid=1234, gid=1234),
        entry("open/file", b"x", mode=0o666, uid=1234),
        entry("shut", type=tarfile.DIRTYPE, mode=0),
        entry("program", b"x", mode=0o711),
        entry("group's program", b"x", mode=0o654),
    )
    release = release_of(tmp_path, "1.0.0", strange)
    provider = await connected(ssh_bench)
    await provider.stage(Rollout(ssh_bench, generation=1).step("stage"), release)
    tree = ssh_bench.root / "releases" / script.release_name(release)
    found = {one.name: (stat.S_IMODE(one.stat().st_mode), one.stat().st_uid) for one in tree.rglob("*")}
    me = os.getuid()
    assert found == {
        "open": (0o755, me),
        "file": (0o644, me),
        "shut": (0o700, me),
        "program": (0o711, me),
        "group's program": (0o754, me),
    }
    await provider.disconnect()


UNRULY = {
    "above": (entry("shut", type=tarfile.DIRTYPE, mode=0o755), entry("shut/a", b"x"), entry("../above", b"x")),
    "link that leads out": (entry("shut", type=tarfile.DIRTYPE, mode=0o755), link("shut/a", "/etc"), link("b", "/etc")),
}


@pytest.mark.parametrize("what", UNRULY)
@pytest.mark.parametrize("mode", [0, 0o555])
def test_what_its_owner_may_not_touch_is_refused_and_blocks_no_later_release(tmp_path: Path, what: str, mode: int):
    closed = entry("shut", type=tarfile.DIRTYPE, mode=mode)
    bad = release_of(tmp_path, "6.6.6", together(*UNRULY[what], closed))
    good = release_of(tmp_path, "1.0.0", together(entry("shut", type=tarfile.DIRTYPE, mode=0o755), closed))
    with tempfile.TemporaryDirectory(prefix="fraisier-test-", ignore_cleanup_errors=True) as name:
        host = Path(name)
        if ANYBODY:
            shutil.chown(host, "nobody")
        refused, staged = (staged_by_anybody(host / "srv", number, one) for number, one in enumerate((bad, good), 1))
        assert refused.stdout.splitlines() == [b"fraisier send", b"fraisier refused 65", b"fraisier ended 65"], refused
        assert staged.stdout.splitlines()[-1] == b"fraisier ended 0", staged
        assert not [*(host / "srv/.fraisier/incoming").iterdir()]


ANYBODY = ["runuser", "-u", "nobody", "--"] if os.getuid() == 0 else []


def staged_by_anybody(root: Path, ordinal: int, release: Release) -> subprocess.CompletedProcess[bytes]:
    """Stage it on this machine as who is not root, whatever the worker thinks of it."""
    options = BareMetalOptions(host="here", root=str(root), start_command=("true",), stop_command=("true",))
    token = FencingToken(generation=1, ordinal=ordinal, attempt=1)
    step = Step(rollout_id="r1", service="api", region="test", target="here", name="stage", token=token)
    command = script.command_line(script.act("stage", options, step, release.ref))
    content = release.artifact.read_bytes()
    return subprocess.run([*ANYBODY, "sh", "-c", command], cwd="/", input=content, capture_output=True, check=False)


# --- what releases share ---

SHARED = {"folders": ["data", "var/log"], "files": ["etc/local.ini"]}


async def test_what_is_shared_outlives_its_releases(ssh_bench: SshBench, tmp_path: Path):
    provider = await connected(ssh_bench, shared=SHARED, start_command=["true"], stop_command=["true"])
    own = together(entry("data/sample", b"of the release"), entry("etc/other.ini", b"x"))
    first, second = release_of(tmp_path, "1.0.0", own), release_of(tmp_path, "2.0.0", own)
    with pytest.raises(PreflightFailed, match=r"shared file .*/shared/etc/local\.ini is not there"):
        await provider.preflight(first)
    with pytest.raises(CommandFailed, match=r"etc/local\.ini is not there: put it there"):
        await provider.stage(Rollout(ssh_bench, generation=1).step("stage"), first)
    shared = ssh_bench.root / "shared"
    (shared / "etc").mkdir(parents=True)
    (shared / "etc" / "local.ini").write_text("mine")
    await provider.preflight(first)
    current = ssh_bench.root / "current"
    for generation, release in enumerate((first, second), start=2):
        rollout = Rollout(ssh_bench, generation=generation)
        await provider.stage(rollout.step("stage"), release)
        await provider.activate(rollout.step("activate"), release)
        assert (current / "etc" / "local.ini").read_text() == "mine"
        assert (current / "etc" / "other.ini").read_text() == "x"
        (current / "data" / release.version).touch()
        (current / "var" / "log" / "log").touch()
    assert {one.name for one in (shared / "data").iterdir()} == {"1.0.0", "2.0.0"}
    await provider.rollback(Rollout(ssh_bench, generation=4).step("rollback"), first.ref)
    assert (current / "data" / "2.0.0").exists()
    await provider.disconnect()


async def test_what_was_shared_as_a_whole_is_never_emptied_for_a_part_of_it(ssh_bench: SshBench, tmp_path: Path):
    release = release_of(tmp_path, "1.0.0", entry("file", b"x"))
    wide, narrow = (
        await connected(ssh_bench, shared={"folders": ["data"]}),
        await connected(ssh_bench, shared={"folders": ["data/photos"]}),
    )
    await wide.stage(Rollout(ssh_bench, generation=1).step("stage"), release)
    photo = ssh_bench.root / "shared" / "data" / "photos" / "photo"
    photo.parent.mkdir()
    photo.touch()
    with pytest.raises(CommandFailed, match="inside of what was shared before"):
        await narrow.stage(Rollout(ssh_bench, generation=2).step("stage"), release)
    assert photo.exists()
    for one in (wide, narrow):
        await one.disconnect()


@pytest.mark.parametrize(
    "wrong",
    [{"folders": ["/data"]}, {"files": ["../x"]}, {"folders": ["a/./.."]}, {"folders": [""]}, {"files": ["a\nb"]},
     {"folders": ["a", "a/b"]}, {"folders": ["a"], "files": ["a"]}],
)  # fmt: skip
def test_what_cannot_be_shared_is_refused_at_once(wrong: dict[str, list[str]]):
    with pytest.raises(ValidationError, match="shared"):
        BareMetalOptions.model_validate({"host": "a", "shared": wrong})


# --- its environment ---

HOSTILE = {
    "QUOTES": 'it\'s "said" `id` \\',
    "DOLLARS": "$HOME ${HOME} $(touch pwned) $$",
    "LINES": "one\ntwo\n\n; touch pwned #",
    "ODD": " spaces\tand tabs ; & | > < * ? [a] ~ \x7f é ",
    "EMPTY": "",
}
TOLD = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"


def telling(ssh_bench: SshBench, **environment: object) -> dict[str, object]:
    """Commands that write their environment down."""
    return {
        "start_command": ["sh", "-c", f'python3 -c "{TOLD}" started; {START}'],
        "stop_command": ["python3", "-c", TOLD, "stopped"],
        "env": environment,
    }


async def test_values_of_any_kind_reach_the_commands_and_no_argument_list(
    ssh_bench: SshBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("API_PASSWORD", "hunter2 $(x)'\"")
    (tmp_path / "token").write_text("s3cr3t\n")
    secrets = {"PASSWORD": {"secret": "env:API_PASSWORD"}, "TOKEN": {"secret": f"file:{tmp_path}/token"}}
    options = telling(ssh_bench, **HOSTILE, **secrets)
    provider, release = await connected(ssh_bench, **options), ssh_bench.release("1.0.0")
    ran: list[str] = []
    run = provider._connection.run
    monkeypatch.setattr(
        provider._connection, "run", lambda command, **more: ran.append(command) or run(command, **more)
    )
    await Rollout(ssh_bench, generation=1).deploy(provider, release)
    found = json.loads((ssh_bench.root / "started").read_text())
    wanted = {**HOSTILE, "PASSWORD": "hunter2 $(x)'\"", "TOKEN": "s3cr3t"}
    assert {name: found[name] for name in wanted} == wanted
    assert not list(ssh_bench.host.folder.rglob("pwned"))
    file = ssh_bench.root / "current" / "fraisier.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not [command for command in ran if "hunter2" in command or "s3cr3t" in command]
    state = [one.read_text() for one in (ssh_bench.root / ".fraisier").rglob("*") if one.is_file()]
    assert not [text for text in state if "hunter2" in text or "s3cr3t" in text]
    await provider.disconnect()


async def test_a_release_comes_back_with_its_own_environment(ssh_bench: SshBench):
    old, new = ssh_bench.release("1.0.0"), ssh_bench.release("2.0.0")
    first = await connected(ssh_bench, **telling(ssh_bench, WHO="first"))
    second = await connected(ssh_bench, **telling(ssh_bench, WHO="second"))
    bare = await connected(ssh_bench, **telling(ssh_bench))

    def told(file: str) -> str | None:
        return json.loads((ssh_bench.root / file).read_text()).get("WHO")

    await Rollout(ssh_bench, generation=1).deploy(first, old)
    # What runs stays as it is, whatever a newer manifest says of the same release.
    await second.stage(Rollout(ssh_bench, generation=2).step("stage"), old)
    assert 'WHO="first"' in (ssh_bench.root / "current" / "fraisier.env").read_text()
    await second.stage(Rollout(ssh_bench, generation=3).step("stage"), new)
    await first.stage(Rollout(ssh_bench, generation=4).step("stage"), new)
    rollout = Rollout(ssh_bench, generation=5)
    await second.stage(rollout.step("stage"), new)
    await second.activate(rollout.step("activate"), new)
    assert (told("stopped"), told("started")) == ("first", "second")
    await bare.rollback(Rollout(ssh_bench, generation=6).step("rollback"), old.ref)
    assert (told("stopped"), told("started")) == ("second", "first")
    await bare.stage(Rollout(ssh_bench, generation=7).step("stage"), new)
    assert not (ssh_bench.root / "releases" / script.release_name(new) / "fraisier.env").exists()
    for one in (first, second, bare):
        await one.disconnect()


async def test_a_secret_that_is_not_there_is_told_before_anything_is_sent(ssh_bench: SshBench):
    provider = await connected(ssh_bench, env={"PASSWORD": {"secret": "env:NO_SUCH_PASSWORD"}})
    with pytest.raises(PreflightFailed, match=r"the secret PASSWORD .* is not there"):
        await provider.preflight(ssh_bench.release("1.0.0"))
    with pytest.raises(SecretMissing, match="NO_SUCH_PASSWORD"):
        await provider.stage(Rollout(ssh_bench, generation=1).step("stage"), ssh_bench.release("1.0.0"))
    assert not ssh_bench.root.exists()
    await provider.disconnect()


# --- preflight ---


async def test_a_release_that_is_too_large_for_the_disk_is_not_even_sent(ssh_bench: SshBench):
    provider, release = await connected(ssh_bench), ssh_bench.release("1.0.0")
    await provider.preflight(release.model_copy(update={"room": 1_000_000}))
    with pytest.raises(PreflightFailed, match="and 976628036 KB are needed"):
        await provider.preflight(release.model_copy(update={"room": 10**12}))
    await provider.disconnect()


async def test_a_clock_that_is_far_off_is_seen(ssh_bench: SshBench, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "tools").mkdir()
    date = tmp_path / "tools" / "date"
    date.touch(mode=0o755)
    ssh_bench.host.environment["PATH"] = f"{date.parent}:{ssh_bench.host.environment['PATH']}"
    provider, release = await connected(ssh_bench), ssh_bench.release("1.0.0")
    for off, told in ((3600, "3[56][0-9][0-9] s ahead of"), (-3600, "3[56][0-9][0-9] s behind")):
        date.write_text(f'#!/bin/sh\n[ "$1" = +%s ] && echo $(($(/bin/date +%s) + {off}))\n')
        with pytest.raises(PreflightFailed, match=rf"its clock is {told} the worker's"):
            await provider.preflight(release)
    date.write_text("#!/bin/sh\necho $(($(/bin/date +%s) + 60))\n")
    await provider.preflight(release)
    assert "ahead of the worker's" in caplog.text
    date.write_text("#!/bin/sh\n/bin/date +%s\n")
    caplog.clear()
    await provider.preflight(release)
    assert not caplog.text
    await provider.disconnect()

"""An artifact that could write outside its release's folder is refused before it leaves the worker."""

import asyncio
import io
import tarfile
from pathlib import Path

import pytest

from fraisier.providers.bare_metal import artifact
from fraisier.providers.bare_metal.artifact import check_artifact, checked_artifact
from fraisier.providers.errors import ArtifactRejected
from fraisier.providers.models import Release
from tests.support.releases import build_release, digest_of


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, mode
    return made


def release_of(folder: Path, *entries: tarfile.TarInfo) -> Release:
    path = folder / "release.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for one in entries:
            archive.addfile(one, io.BytesIO(b""))
    return Release(service="api", version="1", digest=digest_of(path), artifact=path)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([entry("../x")], "outside"),
        ([entry("a/../../x")], "outside"),
        ([entry("/etc/x")], "outside"),
        ([entry("a", tarfile.SYMTYPE, "/etc")], "link to '/etc'"),
        ([entry("a/b", tarfile.SYMTYPE, "../../x")], "outside"),
        ([entry("a", tarfile.SYMTYPE, "b"), entry("a/x")], "through a link"),
        ([entry("a", tarfile.SYMTYPE, "b"), entry("./a/x")], "through a link"),
        ([entry("a", tarfile.LNKTYPE, "../x")], "hard link"),
        ([entry("s", tarfile.SYMTYPE, "t"), entry("a", tarfile.LNKTYPE, "s")], "hard link"),
        ([entry("d", tarfile.CHRTYPE)], "neither file"),
        ([entry("d", tarfile.BLKTYPE)], "neither file"),
        ([entry("p", tarfile.FIFOTYPE)], "neither file"),
        ([entry("su", mode=0o4755)], "another user"),
    ],
)
def test_what_is_unsafe_is_refused(tmp_path: Path, entries: list[tarfile.TarInfo], why: str):
    with pytest.raises(ArtifactRejected, match=why):
        check_artifact(release_of(tmp_path, *entries), target="h")


def test_folders_files_and_links_within_are_fine(tmp_path: Path):
    release = release_of(
        tmp_path,
        entry("./", tarfile.DIRTYPE, mode=0o755),
        entry("bin", tarfile.DIRTYPE, mode=0o755),
        entry("bin/api-1"),
        entry("bin/api", tarfile.SYMTYPE, "api-1"),
        entry("lib/link", tarfile.SYMTYPE, "../bin/api"),
        entry("copy", tarfile.LNKTYPE, "bin/api-1"),
    )
    assert check_artifact(release, target="h") == release.artifact


def test_another_digest_is_refused(tmp_path: Path):
    path = build_release(tmp_path, "1.0.0")
    wrong = Release(service="api", version="1.0.0", digest="sha256:" + "0" * 64, artifact=path)
    with pytest.raises(ArtifactRejected, match="its digest is sha256:"):
        check_artifact(wrong, target="h")


def test_what_is_missing_or_no_archive_is_refused(tmp_path: Path):
    with pytest.raises(ArtifactRejected, match="has no artifact"):
        check_artifact(Release(service="api", version="1", digest="sha256:0"), target="h")
    with pytest.raises(ArtifactRejected, match="No such file"):
        check_artifact(Release(service="api", version="1", digest="x", artifact=tmp_path / "none"), target="h")
    text = tmp_path / "text.tar.gz"
    text.write_text("no archive")
    with pytest.raises(ArtifactRejected, match="not a gzip file"):
        check_artifact(Release(service="api", version="1", digest=digest_of(text), artifact=text), target="h")


def test_half_an_archive_is_refused(tmp_path: Path):
    whole = build_release(tmp_path, "1.0.0").read_bytes()
    half = tmp_path / "half.tar.gz"
    half.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactRejected):
        check_artifact(Release(service="api", version="1.0.0", digest=digest_of(half), artifact=half), target="h")


async def test_hosts_that_ask_at_once_share_a_check_and_each_has_its_own_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    checks = []
    monkeypatch.setattr(artifact, "check_entries", checks.append)
    good = release_of(tmp_path, entry("a"))
    assert set(await asyncio.gather(*(checked_artifact(good, target=name) for name in "abc"))) == {good.artifact}
    assert checks == [good.artifact]
    wrong = good.model_copy(update={"digest": f"sha256:{'0' * 64}"})
    refused = await asyncio.gather(*(checked_artifact(wrong, target=name) for name in "abc"), return_exceptions=True)
    assert [(type(one), getattr(one, "target", "")) for one in refused] == [(ArtifactRejected, name) for name in "abc"]

"""Artifacts by digest in a JetStream object store."""

import asyncio
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nats.js.api import ObjectStoreConfig
from nats.js.errors import BucketNotFoundError, NotFoundError, ObjectNotFoundError
from nats.js.object_store import ObjectStore
from pydantic import BaseModel, ConfigDict

from fraisier.nats.errors import EventError

if TYPE_CHECKING:
    from fraisier.nats.client import NatsClient

BUCKET = "fraisier-artifacts"
BLOCK = 1 << 20


class ArtifactError(EventError):
    """An artifact is not in the store, or is not what its digest says."""


class Artifact(BaseModel):
    """A stored file.

    Attributes:
        digest: ``sha256:<64 hex digits>``, also its name in the store.
        size: in bytes.
        name: the file's name.
    """

    model_config = ConfigDict(frozen=True)

    digest: str
    size: int
    name: str


class ArtifactStore:
    """Files by digest.

    Args:
        client: connected before the first use.
    """

    def __init__(self, client: "NatsClient") -> None:
        self._client = client
        self._locks: dict[str, asyncio.Lock] = {}

    async def put(self, path: Path) -> Artifact:
        """Store a file; one whose digest is known is not sent again."""
        digest = await asyncio.to_thread(file_digest, path)
        artifact = Artifact(digest=digest, size=path.stat().st_size, name=path.name)
        bucket = await self._bucket()
        try:
            info = await bucket.get_info(digest)
            if info.size == artifact.size:
                return artifact
        except (ObjectNotFoundError, NotFoundError):
            pass
        with path.open("rb") as file:
            await bucket.put(digest, file)
        return artifact

    async def fetch(self, digest: str, folder: Path) -> Path:
        """The file with this digest in `folder`, fetched when it is not there yet.

        Raises:
            ArtifactError: it is not in the store, or came with another content.
        """
        path = folder / digest.replace(":", "-")
        async with self._locks.setdefault(str(path), asyncio.Lock()):
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                await self._fetch_to(path, digest)
        return path

    async def _fetch_to(self, path: Path, digest: str) -> None:
        bucket = await self._bucket()
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "w+b") as file:
                await bucket.get(digest, writeinto=file)
            found = await asyncio.to_thread(file_digest, Path(name))
            if found != digest:
                raise ArtifactError(f"artifact {digest} came as {found}; upload it again")
            os.replace(name, path)  # noqa: PTH105 (atomic, on two plain names)
        except (ObjectNotFoundError, NotFoundError):
            raise ArtifactError(f"artifact {digest} is not in the store {BUCKET}; start the rollout again") from None
        finally:
            Path(name).unlink(missing_ok=True)

    async def _bucket(self) -> ObjectStore:
        js = self._client.jetstream
        try:
            return await js.object_store(BUCKET)
        except (BucketNotFoundError, NotFoundError):
            return await js.create_object_store(BUCKET, ObjectStoreConfig(bucket=BUCKET))


def file_digest(path: Path) -> str:
    """``sha256:`` and the hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"

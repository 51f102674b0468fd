"""Artifacts by digest in a JetStream object store."""

import asyncio
import hashlib
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import ObjectInfo, ObjectStoreConfig
from nats.js.errors import (
    APIError,
    BucketNotFoundError,
    NotFoundError,
    ObjectNotFoundError,
    ServiceUnavailableError,
)
from nats.js.object_store import ObjectStore
from pydantic import BaseModel, ConfigDict

from fraisier.nats.away import raise_if_hopeless, why
from fraisier.nats.config import StreamConfig
from fraisier.nats.errors import EventError, NatsConnectionError
from fraisier.nats.reading import read_batch

if TYPE_CHECKING:
    from fraisier.nats.client import NatsClient

logger = logging.getLogger(__name__)

BUCKET = "fraisier-artifacts"
STREAM = f"OBJ_{BUCKET}"
BLOCK = 1 << 20

PATIENCE_S = 60.0
"""How long an upload tries a server that does not answer: a leader is elected within seconds, and a person waits."""
WAIT_S = 1.0

LAGS = 50
LAG_S = 0.2
"""How often, and after how long, a replica is asked again that has not got a whole artifact yet."""


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
        """Store a file; one whose digest is known is not sent again. A server that is away is waited for a minute.

        Raises:
            ConnectionError: it was away for longer, or the connection was closed for good.
            PermissionDenied: this user may store nothing.
        """
        digest = await asyncio.to_thread(file_digest, path)
        artifact = Artifact(digest=digest, size=path.stat().st_size, name=path.name)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                await self._send(path, artifact)
            except (nats.errors.Error, asyncio.TimeoutError) as error:
                if isinstance(error, APIError) and not isinstance(error, ServiceUnavailableError):
                    raise
                raise_if_hopeless(self._client, error, f"$O.{BUCKET}.")
                if time.monotonic() > deadline:
                    raise NatsConnectionError(
                        f"{path.name} could not be stored in {BUCKET}: {why(self._client, error, BUCKET)}. Look at the "
                        "server (fraisier doctor) and try again"
                    ) from error
                logger.warning("%s waits for NATS: %s", path.name, why(self._client, error, BUCKET))
            else:
                return artifact
            await asyncio.sleep(WAIT_S)

    async def _send(self, path: Path, artifact: Artifact) -> None:
        bucket = await self._bucket()
        try:
            info = await bucket.get_info(artifact.digest)
            if info.size == artifact.size:
                return
        except (ObjectNotFoundError, NotFoundError):
            pass
        with path.open("rb") as file:
            await bucket.put(artifact.digest, file)

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
                await self._read_to(file, await bucket.get_info(digest))
            found = await asyncio.to_thread(file_digest, Path(name))
            if found != digest:
                raise ArtifactError(f"artifact {digest} came as {found}; upload it again")
            os.replace(name, path)  # noqa: PTH105 (atomic, on two plain names)
        except (ObjectNotFoundError, NotFoundError):
            raise ArtifactError(f"artifact {digest} is not in the store {BUCKET}; start the rollout again") from None
        finally:
            Path(name).unlink(missing_ok=True)

    async def _read_to(self, file: BinaryIO, info: ObjectInfo) -> None:
        """Read the chunks without a consumer: who may create one may have stored messages sent to any subject."""
        subject, start, missing, lags = f"$O.{BUCKET}.C.{info.nuid}", 1, info.chunks or 0, 0
        while missing > 0 and lags < LAGS:
            batch = await read_batch(self._client.connection, STREAM, subject, start, timeout=self._client.timeout)
            for chunk in batch.messages:
                await asyncio.to_thread(file.write, chunk.body)
                start, missing = chunk.sequence + 1, missing - 1
            if not batch.messages:
                lags += 1
                await asyncio.sleep(LAG_S)

    async def _bucket(self) -> ObjectStore:
        return await open_artifacts(self._client.jetstream)


async def open_artifacts(js: JetStreamContext, config: StreamConfig | None = None) -> ObjectStore:
    """The bucket; made where there is none, with as many replicas as the streams, by default the environment's."""
    try:
        return await js.object_store(BUCKET)
    except (BucketNotFoundError, NotFoundError):
        replicas = (config or StreamConfig()).replicas
        return await js.create_object_store(BUCKET, ObjectStoreConfig(bucket=BUCKET, replicas=replicas))


def file_digest(path: Path) -> str:
    """``sha256:`` and the hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"

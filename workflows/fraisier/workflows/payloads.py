"""What Temporal is given to keep: large payloads packed, and all of them encrypted where there are keys."""

import base64
import binascii
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

VARIABLE = "FRAISIER_PAYLOAD_KEYS"
"""The environment's variable that says where the keys are."""

ENCODING, KEY_ID = "encoding", "fraisier-key"
PACKED, SEALED = b"binary/zlib", b"binary/encrypted"

PACKED_FROM = 64 * 1024
"""Smaller payloads stay as they are, in bytes: people read them in the Temporal UI."""

KEY_BYTES, NONCE_BYTES = 32, 12


class KeysUnusable(Exception):
    """The keys cannot be read as such. The message says which line is wrong, and never what it holds."""


class PayloadUnreadable(Exception):
    """A payload was encrypted with a key that is not there, or was changed since."""


@dataclass(frozen=True, repr=False)
class KeyRing:
    """Keys by ID: the first encrypts, any of them decrypts. So a new key is put first, and an old one stays below.

    Attributes:
        keys: 32 bytes each, for AES-256-GCM.
    """

    keys: dict[str, bytes]

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """Read one key a line, ``<id>:<32 bytes in base64>``; lines that are empty or begin with ``#`` say nothing.

        Raises:
            KeysUnusable: a line is something else, an ID stands twice, or there is no key.
        """
        keys: dict[str, bytes] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            name, _, value = line.strip().partition(":")
            if not name or name.startswith("#"):
                continue
            if name in keys:
                raise KeysUnusable(f"line {number}: the key {name} stands there twice")
            keys[name] = _key(value, number)
        if not keys:
            raise KeysUnusable("there is no key: write <id>:<key>, with the key of `openssl rand -base64 32`")
        return cls(keys)

    def __repr__(self) -> str:
        """The IDs alone."""
        return f"KeyRing({', '.join(self.keys)})"

    def seal(self, payload: Payload) -> Payload:
        """The payload, encrypted with the first key."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 (slow, and most have no keys)

        name = next(iter(self.keys))
        nonce = os.urandom(NONCE_BYTES)
        hidden = AESGCM(self.keys[name]).encrypt(nonce, payload.SerializeToString(), name.encode())
        return Payload(metadata={ENCODING: SEALED, KEY_ID: name.encode()}, data=nonce + hidden)

    def open(self, payload: Payload) -> Payload:
        """What `seal` was given.

        Raises:
            PayloadUnreadable: the key is not there, or the payload was changed.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 (as above)
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        name = payload.metadata[KEY_ID].decode()
        if name not in self.keys:
            has = f"it has {', '.join(self.keys)}" if self.keys else "it is not set"
            raise PayloadUnreadable(
                f"a payload was encrypted with the key {name}, which is not in {VARIABLE} ({has}): add its line"
            )
        nonce, hidden = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(AESGCM(self.keys[name]).decrypt(nonce, hidden, name.encode()))
        except InvalidTag:
            raise PayloadUnreadable(
                f"a payload does not fit the key {name} of {VARIABLE}: another key has that ID, or it was changed"
            ) from None


class Sealing(PayloadCodec):
    """Packs and encrypts on the way to Temporal, and the other way round. What others wrote in the clear stays so.

    Args:
        ring: the keys; with none, nothing is encrypted.
    """

    def __init__(self, ring: KeyRing | None = None) -> None:
        self._ring = ring

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """As Temporal keeps them."""
        return [self.hidden(one) for one in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """As they were.

        Raises:
            PayloadUnreadable: the key of one is not there, or it was changed.
        """
        return [self.plain(one) for one in payloads]

    def hidden(self, payload: Payload) -> Payload:
        """A payload as Temporal keeps it."""
        if payload.ByteSize() >= PACKED_FROM:
            payload = Payload(metadata={ENCODING: PACKED}, data=zlib.compress(payload.SerializeToString(), level=1))
        return self._ring.seal(payload) if self._ring else payload

    def plain(self, payload: Payload) -> Payload:
        """A payload as it was.

        Raises:
            PayloadUnreadable: its key is not there, or it was changed.
        """
        if payload.metadata.get(ENCODING) == SEALED:
            payload = (self._ring or KeyRing({})).open(payload)
        if payload.metadata.get(ENCODING) == PACKED:
            payload = Payload.FromString(zlib.decompress(payload.data))
        return payload


def _key(value: str, number: int) -> bytes:
    try:
        key = base64.b64decode(value, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise KeysUnusable(
            f"line {number}: not <id>:<{KEY_BYTES} bytes in base64>; `openssl rand -base64 32` makes a key"
        )
    return key

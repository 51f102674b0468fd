"""Takes secrets out of what a command writes, while it writes it: before anything is cut off or shown."""

import codecs
import re

MASK = "***"

HINT = 3
"""How much of a secret an output may end with, in characters: so many begin any word."""


class Masking:
    """An output that comes in parts, without secrets, whole or begun.

    Args:
        secrets: what must not be shown.
    """

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = sorted({one for one in secrets if one}, key=len, reverse=True)
        self._any = re.compile("|".join(map(re.escape, self._secrets)))
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""

    def part(self, said: bytes) -> bytes:
        """What may be shown of all that was said and not shown before.

        >>> masking = Masking(("sesame",))
        >>> masking.part(b"key ses"), masking.part(b"ame, key"), masking.rest()
        (b'key ', b'***, key', b'')
        """
        if not self._secrets:
            return said
        text = self._held + self._decode(said)
        begun = self._begun(text)
        # A whole one that reaches into what is kept back is kept with it.
        end = min([begun, *(one.start() for one in self._any.finditer(text) if one.end() > begun)])
        self._held = text[end:]
        return self._any.sub(MASK, text[:end]).encode()

    def rest(self) -> bytes:
        """What was kept back because it could have become a secret, once nothing follows."""
        if not self._secrets:
            return b""
        text = self._any.sub(MASK, self._held + self._decode(b"", final=True))
        self._held = ""
        begun = self._begun(text)
        return (text[:begun] + MASK if len(text) - begun > HINT else text).encode()

    def _begun(self, text: str) -> int:
        """Where a secret begins that is not whole yet; the text's end where none does."""
        return min((_begins(one, text) for one in self._secrets), default=len(text))


def _begins(secret: str, text: str) -> int:
    """Where the secret begins that the text ends within; only where its first character stands it is looked at."""
    at = text.find(secret[0], max(len(text) - len(secret) + 1, 0))
    while at >= 0 and not secret.startswith(text[at:]):
        at = text.find(secret[0], at + 1)
    return at if at >= 0 else len(text)

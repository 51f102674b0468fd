"""TLS: the context that the configuration asks for, and a client that never goes without it."""

import logging
import ssl
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client

from fraisier.nats.errors import ConfigInvalid

logger = logging.getLogger(__name__)


def tls_context(ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """A context that checks the server's certificate and name, and shows ours where there is one.

    Args:
        ca_file: who signed the server's certificate; the machine's own authorities by default.
        cert_file: our certificate.
        key_file: its key; in `cert_file` by default.

    Raises:
        ConfigInvalid: a file cannot be used; the message names its variable.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigInvalid(f"NATS_TLS_CA_FILE={ca_file} cannot be used: {error}") from None
    if cert_file is not None:
        try:
            context.load_cert_chain(cert_file, key_file, password="")
        except (OSError, ssl.SSLError) as error:
            raise ConfigInvalid(
                f"NATS_TLS_CERT_FILE={cert_file} with NATS_TLS_KEY_FILE={key_file} cannot be used: {error}"
            ) from None
    return context


class TlsOnlyClient(Client):
    """nats-py's client goes on in plain text, password and all, with a server that offers no TLS; this one does not.

    Args:
        certificate: the files of our certificate and its key. They are read again for each connection: whoever renews
            them need not restart us.
    """

    def __init__(self, certificate: tuple[Path, Path | None] | None) -> None:
        super().__init__()
        self._certificate = certificate

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002
        if initial_connection:
            if not info.get("tls_required"):
                raise nats.errors.Error("the server offers no TLS, and NATS_TLS_ENABLED is on")
            if self._certificate is not None:
                self._show(*self._certificate)
        await super()._process_info(info, initial_connection)

    def _show(self, cert_file: Path, key_file: Path | None) -> None:
        """Show our certificate as it is on disk; the one before where only half of it is written yet."""
        try:
            # A context that refuses a key has taken the certificate already, and forgotten its own key.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert_file, key_file, password="")
            self.ssl_context.load_cert_chain(cert_file, key_file, password="")
        except (OSError, ssl.SSLError) as error:
            logger.warning("the certificate %s with key %s cannot be used yet: %s", cert_file, key_file, error)

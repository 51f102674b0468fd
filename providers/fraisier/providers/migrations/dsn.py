"""What of a PostgreSQL DSN is secret."""

from urllib.parse import quote

from psycopg import Error
from psycopg.conninfo import conninfo_to_dict

from fraisier.providers.masking import MASK


def secrets_of(dsn: str) -> tuple[str, ...]:
    """What of a DSN must not be shown: all of it, and its password alone, plain and as a URL writes it."""
    try:
        password = str(conninfo_to_dict(dsn).get("password") or "")
    except Error:
        password = ""
    return tuple(secret for secret in (dsn, password, quote(password, safe="")) if secret)


def masked(text: str, secrets: tuple[str, ...]) -> str:
    """A text without secrets; an empty one hides nothing."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text

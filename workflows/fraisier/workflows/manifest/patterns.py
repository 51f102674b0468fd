"""The forms of text that a manifest asks for, in words: a pattern says nothing to most people."""

_NAME = "must be lower-case letters, digits and dashes, with no dash at either end, such as eu-west-1 or shop-api"
_PART = "must begin with a letter or digit and go on with letters, digits, "

FORMS = {
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$": _NAME,
    r"^[A-Za-z0-9][A-Za-z0-9._+-]*$": _PART + "dots, dashes, underscores and plus signs, such as 2.0.0-rc.1",
    r"^(deployment|health|database|metrics)\.[a-z_]+$": "must be an event's type, such as health.check_passed",
    r"^metrics\.[a-z_]+$": "must be a type of the metrics events, such as metrics.error_rate",
    r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/[^\x00]+)$": "must be env:NAME or file:/path",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "must be the name of a variable, such as DATABASE_URL",
    r"^[A-Za-z0-9][A-Za-z0-9:_.@\\-]*$": "must be the name of a systemd unit, such as api.service",
    r"^[A-Za-z0-9][A-Za-z0-9_-]*$": _PART + "dashes and underscores, such as orders",
    r"^[a-z0-9][a-z0-9_-]*$": "must be lower-case letters, digits, dashes and underscores, such as shop",
    r"^[a-z0-9][a-z0-9_./:-]*$": "must be the name of a log driver, such as json-file",
    r"^(((\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):)?\d{1,5}:)?\d{1,5}(/(tcp|udp))?$": (
        "must be a port of the container, or what it is published as, such as 8080:80 or 127.0.0.1:8080:80/tcp"
    ),
    r"^(/[^:]*|[A-Za-z0-9][A-Za-z0-9_.-]*):/[^:]*(:(ro|rw))?$": (
        "must be a folder or the name of a volume, and where it is mounted, such as data:/var/lib/data:ro"
    ),
    r"^/[^:]*(:[a-z0-9=,]+)?$": "must be a folder in the container, with options if any, such as /tmp:size=64m",
    r"^(ALL|(CAP_)?[A-Z][A-Z_]+)$": "must be a capability, such as NET_BIND_SERVICE",
    r"^(SIG)?[A-Z][A-Z0-9]*([+-]\d+)?$": "must be the name of a signal, such as SIGQUIT",
    r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$": "must be a host name, such as api-1",
    r"^[A-Za-z0-9][A-Za-z0-9_.-]*$": "must be the name of a network, such as backend",
    r"^(unix:///|tcp://|ssh://)\S+$": "must be an engine's address, such as ssh://deploy@eu1.example",
    r"^unix:/.+$|^[^\s:/]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$": (
        "must be a socket, such as unix:/run/haproxy/admin.sock or 127.0.0.1:9999"
    ),
    r"^https?://[^/\s]+/?$": "must be the address of an admin API, such as http://127.0.0.1:2019",
    r"^[A-Za-z0-9_.:-]+$": "must be a name as it stands in HAProxy's configuration, such as api",
    r"^apps/[A-Za-z0-9_./-]+/upstreams$": (
        "must be a path in Caddy's configuration, such as apps/http/servers/srv0/routes/0/handle/0/upstreams"
    ),
    r"^/[^\n]*[^/\n]$": "must be the whole path of a folder, such as /etc/caddy/upstreams",
}
"""By the pattern of a model's field, what follows the key in a message."""

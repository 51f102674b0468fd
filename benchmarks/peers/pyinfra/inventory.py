"""pyinfra's hosts, from the order that ``$BENCH_ORDER`` names."""

import json
import os
from pathlib import Path

told = json.loads(Path(os.environ["BENCH_ORDER"]).read_text())
hosts = (
    [(address, {"root": root}) for address, root in told["hosts"].items()],
    {
        "ssh_user": told["username"],
        "ssh_port": told["port"],
        "ssh_key": told["key"],
        "ssh_known_hosts_file": told["known_hosts"],
        "ssh_strict_host_key_checking": "yes",
        "ssh_look_for_keys": False,
        "ssh_allow_agent": False,
        "ssh_connect_timeout": 60,
        "ssh_paramiko_connect_kwargs": {"banner_timeout": 60, "auth_timeout": 60},
    },
)

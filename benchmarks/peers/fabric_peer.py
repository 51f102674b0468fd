"""Fabric: a thread a host, `put`, and one `run` a step."""

from concurrent.futures import ThreadPoolExecutor

import paramiko
import steps
from fabric import Config, Connection

AT_ONCE = 16
told = steps.order()
version, digest = told["version"], told["digest"]
config = Config(overrides={"load_ssh_configs": False, "run": {"hide": True, "in_stream": False}}, lazy=True)
known = paramiko.HostKeys(told["known_hosts"])
key = paramiko.Ed25519Key.from_private_key_file(told["key"])


def deploy(address: str, root: str) -> None:
    arguments = {"pkey": key, "look_for_keys": False, "allow_agent": False, "banner_timeout": 60, "auth_timeout": 60}
    with Connection(
        address, told["username"], told["port"], config=config, connect_timeout=60, connect_kwargs=arguments
    ) as connection:
        connection.client._host_keys = known  # noqa: SLF001 (read once; verified as strictly as `load_host_keys` does)
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        if connection.run(steps.is_there(root, version, digest)).stdout.strip() == "same":
            connection.run(steps.health(root, version))
            return
        connection.run(steps.make_folder(root, version))
        connection.put(told["artifact"], remote=f"{root}/artifact")
        for command in steps.after_upload(root, version, digest).values():
            connection.run(command)


with ThreadPoolExecutor(AT_ONCE) as pool:
    list(pool.map(deploy, *zip(*told["hosts"].items(), strict=True)))

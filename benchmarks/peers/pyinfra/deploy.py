"""pyinfra: a fact, then an operation a step."""

import json
import os
import sys
from pathlib import Path

from pyinfra import host
from pyinfra.facts.files import Link
from pyinfra.operations import files, server

sys.path.insert(0, os.environ["BENCH_PEERS"])
import steps

told = json.loads(Path(os.environ["BENCH_ORDER"]).read_text())
root, version, digest = host.data.root, told["version"], told["digest"]
link = host.get_fact(Link, path=f"{root}/current")
if link and link.get("link_target") == f"releases/{version}":
    server.shell(name="health", commands=[steps.health(root, version)])
else:
    files.directory(name="folder", path=f"{root}/releases/{version}")
    files.put(name="upload", src=told["artifact"], dest=f"{root}/artifact")
    for name, command in steps.after_upload(root, version, digest).items():
        server.shell(name=name, commands=[command])

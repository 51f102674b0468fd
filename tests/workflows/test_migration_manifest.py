"""Migrations in a manifest: what is wrong is named with its line and the way out, and shows no secret."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from fraisier.providers.migrations.models import order_of
from fraisier.providers.models import FencingToken, ReleaseRef, Step
from fraisier.workflows.manifest.check import check_manifest
from fraisier.workflows.manifest.errors import ManifestInvalid
from tests.support.releases import build_release

GOOD = """\
service: api
release: {version: "2.0.0", image: "api:2", artifact: api-2.0.0.tar.gz}
waves: [{regions: [east, west]}]
migrations:
  - database: orders
    postgres: {secret: "env:ORDERS_DSN"}
    expand: [bin/migrate, "{service} {version} {database}", "{digest}", "{rollout}", "{region}", "{other}"]
    env: {URL: {secret: "env:ORDERS_DSN"}}
  - {database: stock, on: host, region: east, expand: [a], contract: [b], rollback: [c]}
regions:
  east: {provider: bare_metal, targets: [{host: e}], health: {tcp: "127.0.0.1:80"}}
  west: {provider: docker, targets: [{host: w}], health: {tcp: "127.0.0.1:80"}}
"""
STOCK = "{database: stock, on: host, region: east, expand: [a], contract: [b], rollback: [c]}"
DSN = 'postgres: {secret: "env:ORDERS_DSN"}'


class AnyOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    host: str


def problem_of(path: Path, old: str, new: str) -> str:
    assert old in GOOD
    build_release(path.parent, "2.0.0")
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ManifestInvalid) as caught:
        check_manifest(path, lambda _: AnyOptions)
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            DSN,
            "postgres: postgresql://me:sesame@db/orders",
            "rollout.yaml:6: migrations.0.postgres: give the DSN by ref",
        ),
        (DSN, "postgres: {dsn: postgresql://me:sesame@db/x}", "rollout.yaml:6: migrations.0.postgres: give the DSN by"),
        (DSN, 'postgres: {secret: "postgresql://me:sesame@db"}', "rollout.yaml:6: migrations.0.postgres.secret: "),
        (DSN, "postgras: x", "rollout.yaml:6: migrations.0.postgras: unknown key; did you mean postgres?"),
        (f"{DSN}\n    ", "", "rollout.yaml:5: migrations.0: on the worker it needs postgres"),
        ("region: east, ", "", "rollout.yaml:9: migrations.1: on: host needs region"),
        (
            "region: east",
            "region: easst",
            "rollout.yaml:9: migrations.1.region: unknown region easst; did you mean east?",
        ),
        ("region: east", "region: west", "west is docker, which has no hosts: name a bare_metal region"),
        ("database: stock", "database: orders", "migrations: database orders stands in 2 places"),
        ("database: stock", 'database: "a b"', "rollout.yaml:9: migrations.1.database: "),
        ("expand: [a], contract: [b], rollback: [c]", "timeout: 5m", "give expand, contract or both"),
        ("expand: [a], ", "", "rollback takes back what expand did, and there is no expand"),
        ("rollback: [c]", "rollback: [c], irreversible: true", "give either rollback or irreversible"),
        ("rollback: [c]", "rollback: []", "migrations.1.rollback: must not be empty"),
        ("rollback: [c]", "env: {A: b}", "env is for commands on the worker"),
        ("rollback: [c]", "timeout: 90", "migrations.1.timeout: 90 is not a duration"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, says: str):
    problem = problem_of(tmp_path / "rollout.yaml", old, new)
    assert says in problem
    assert "sesame" not in problem


def test_names_are_filled_in_and_no_other_braces(tmp_path: Path):
    path = tmp_path / "rollout.yaml"
    build_release(tmp_path, "2.0.0")
    path.write_text(GOOD)
    orders, stock = check_manifest(path, lambda _: AnyOptions).migrations
    token = FencingToken(generation=1, ordinal=2, attempt=1)
    step = Step(rollout_id="r1", service="api", region="global", target="orders", name="expand", token=token)
    order = order_of(orders, "expand", step, ReleaseRef(version="2.0.0", digest="sha256:2"))
    assert order.argv == ("bin/migrate", "api 2.0.0 orders", "sha256:2", "r1", "global", "{other}")
    assert (order.timeout_s, stock.command("rollback")) == (1800, ("c",))
    with pytest.raises(LookupError, match="orders has no contract"):
        order_of(orders, "contract", step, ReleaseRef(version="2.0.0", digest="sha256:2"))

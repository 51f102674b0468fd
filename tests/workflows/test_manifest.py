"""A manifest that is wrong is refused with the line, the key and the way out; a right one becomes a plan."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from fraisier.providers.docker.options import DockerOptions
from fraisier.providers.hooks import Hook
from fraisier.workflows.manifest.check import check_manifest
from fraisier.workflows.manifest.errors import ManifestInvalid
from fraisier.workflows.manifest.wave_parts import GrowingWavesPart
from fraisier.workflows.planning import make_plan
from fraisier.workflows.plans import OnFailure, Plan, ReleasePlan

GOOD = """\
service: api
release: {version: "2.0.0", artifact: api.tar.gz}
waves:
  - {regions: [us-east-1], soak: 10m}
  - {regions: [us-west-2, eu-west-1], max_parallel: 50%}
gates:
  - {name: healthy, event: health.check_passed, from: every_target, none_of: [health.check_failed], timeout: 45s}
  - {name: some, event: health.check_passed, from: 2}
  - {name: half, event: health.check_passed, from: 50%}
on_failure: rollback_all
decision_timeout: 0s
regions:
  us-east-1:
    provider: hosts
    user: deploy
    targets: [{host: a.example}, {host: b.example, port: 2222}, {host: c.example}]
    batch: {canary: 1, max_parallel: 25%}
    failure_tolerance: 34%
    health: {tcp: "127.0.0.1:80"}
  us-west-2:
    provider: hosts
    targets: [{host: d.example}]
    health: {http: "http://127.0.0.1/health", interval: 500ms}
  eu-west-1:
    provider: hosts
    targets: [{host: e.example}]
    health: {command: ["true"]}
"""


class HostOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    host: str
    port: int = 22
    user: str = "root"


def options_of(provider: str) -> type[BaseModel]:
    if provider != "hosts":
        raise LookupError(f"no provider is called {provider}; there are: hosts")
    return HostOptions


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    (tmp_path / "api.tar.gz").write_bytes(b"x")
    path = tmp_path / "rollout.yaml"
    path.write_text(GOOD)
    return path


def plan_of(path: Path) -> Plan:
    manifest = check_manifest(path, options_of)
    release = ReleasePlan(service="api", version="2.0.0", digest="sha256:0")
    return make_plan(manifest, release, gate_timeout=timedelta(seconds=7))


def problem_of(path: Path, old: str, new: str) -> str:
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ManifestInvalid) as caught:
        check_manifest(path, options_of)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_a_good_manifest_becomes_a_plan_with_every_count_resolved(manifest: Path) -> None:
    plan = plan_of(manifest)
    assert [(wave.number, wave.regions, wave.max_parallel, wave.soak) for wave in plan.waves] == [
        (1, ("us-east-1",), 1, timedelta(minutes=10)),
        (2, ("us-west-2", "eu-west-1"), 1, timedelta(0)),
    ]
    east = plan.regions["us-east-1"]
    assert (east.canary, east.max_parallel, east.tolerance) == (1, 1, 1)
    assert [target.name for target in east.targets] == ["a.example", "b.example:2222", "c.example"]
    assert east.targets[1].options == {"user": "deploy", "host": "b.example", "port": 2222}
    assert [(gate.name, gate.share, gate.count, gate.timeout.total_seconds()) for gate in plan.gates] == [
        ("healthy", 100, None, 45),
        ("some", 100, 2, 7),
        ("half", 50, None, 7),
    ]
    assert (plan.on_failure, plan.decision_timeout) == (OnFailure.ROLLBACK_ALL, timedelta(0))


def test_without_gates_every_targets_health_opens_the_way(manifest: Path) -> None:
    text = GOOD[: GOOD.index("gates:")] + GOOD[GOOD.index("on_failure:") :]
    manifest.write_text(text)
    (gate,) = plan_of(manifest).gates
    assert (gate.event, gate.share, gate.none_of) == (
        "health.check_passed",
        100,
        ("health.check_failed", "health.check_timeout"),
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("soak: 10m", "soka: 10m", "rollout.yaml:4: waves.0.soka: unknown key; did you mean soak?"),
        ("soak: 10m", "soak: 10", "rollout.yaml:4: waves.0.soak: 10 is not a duration"),
        ("soak: 10m", "soak: 10 minutes", "rollout.yaml:4: waves.0.soak: '10 minutes' is not a duration"),
        ("[us-east-1]", "[us-east-9]", "rollout.yaml:4: waves.0.regions.0: unknown region us-east-9; known: us-east-1"),
        ("[us-east-1]", "[]", "rollout.yaml:4: waves.0.regions: must not be empty"),
        ("us-west-2, eu-west-1]", "us-west-2]", "rollout.yaml:24: regions.eu-west-1: is in no wave"),
        ("[us-west-2, eu-west-1]", "[us-west-2, us-west-2, eu-west-1]", "waves: region us-west-2 stands in 2 places"),
        ("targets: [{host: d.example}]", "targets: []", "rollout.yaml:22: regions.us-west-2.targets:"),
        ("api.tar.gz", "nope.tar.gz", "rollout.yaml:2: release.artifact: there is no file nope.tar.gz"),
        ("user: deploy", "usr: deploy", "rollout.yaml:15: regions.us-east-1.usr: unknown key; did you mean user?"),
        (
            "port: 2222",
            "prot: 2222",
            "rollout.yaml:16: regions.us-east-1.targets.1.prot: unknown key; did you mean port?",
        ),
        ("port: 2222", "port: many", "rollout.yaml:16: regions.us-east-1.targets.1.port:"),
        ("{host: d.example}", "{}", "rollout.yaml:22: regions.us-west-2.targets.0.host: is missing"),
        ("{host: e.example}", "{host: d.example}", "regions.eu-west-1.targets.0: d.example is in region us-west-2 too"),
        ("{host: c.example}", "{host: a.example}", "regions.us-east-1.targets.2: is a.example again"),
        (
            "provider: hosts\n    user",
            "provider: host\n    user",
            "regions.us-east-1.provider: no provider is called host",
        ),
        ('{tcp: "127.0.0.1:80"}', "{}", "health: give exactly one of http, tcp, command, systemd or docker, not none"),
        ("interval: 500ms", "intervall: 1s", "regions.us-west-2.health.intervall: unknown key; did you mean interval?"),
        ("interval: 500ms", "status: [200, 99]", "regions.us-west-2.health.status.1: must be 100 or more, not 99"),
        ("interval: 500ms", "body: {regex: '('}", "regions.us-west-2.health.body: '(' is no regular expression: "),
        ('{tcp: "127.0.0.1:80"}', '{tcp: "h:80", status: 200}', "regions.us-east-1.health: status need http"),
        ("canary: 1", "canary: -1", "rollout.yaml:17: regions.us-east-1.batch.canary:"),
        ("failure_tolerance: 34%", "failure_tolerance: 134%", "regions.us-east-1.failure_tolerance: '134%' is neither"),
        ("from: 2", "from: some", "rollout.yaml:8: gates.1.from:"),
        ("event: health.check_passed, from: 2", "event: healthy, from: 2", "rollout.yaml:8: gates.1.event:"),
        ("[health.check_failed]", "[deployment.failed]", "gates.0.none_of.0: must be a health event"),
        ("name: some", "name: healthy", "gates: two gates are called healthy"),
        ("on_failure: rollback_all", "on_failure: panic", "rollout.yaml:10: on_failure:"),
        ("service: api", "service: API!", "rollout.yaml:1: service:"),
        ("service: api", "", "rollout.yaml:1: service: is missing"),
        ("  eu-west-1:", "  global:", "global is reserved"),
        ("artifact: api.tar.gz", "image_archive: api.tar.gz", "rollout.yaml:2: release: give an artifact"),
        ("waves:", "waves: [", "not YAML"),
        ("service: api", "service: api\nservice: api", "not YAML: found duplicate key"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_the_way_out(manifest: Path, old: str, new: str, says: str) -> None:
    assert says in problem_of(manifest, old, new)


@pytest.mark.parametrize(
    ("provider", "check", "says"),
    [
        ("docker", "systemd: api.service", r"eu-west-1\.health\.systemd: a container has no units"),
        ("bare_metal", "docker: true", r"eu-west-1\.health\.docker: a host has no containers of ours"),
        ("docker", "docker: false", r"eu-west-1\.health\.docker: must be True, not False"),
    ],
)
def test_a_target_is_checked_by_what_it_has(manifest: Path, provider: str, check: str, says: str) -> None:
    changed = GOOD.replace("provider: hosts", f"provider: {provider}").replace('{command: ["true"]}', f"{{{check}}}")
    manifest.write_text(changed)
    with pytest.raises(ManifestInvalid, match=says):
        check_manifest(manifest, lambda _: HostOptions)


@pytest.mark.parametrize(
    ("added", "says"),
    [
        (
            "hooks: {target: {before: [{run: [purge]}]}}",
            "hooks: a hook cannot run on a Docker engine: give it `on: worker`",
        ),
        ("hooks: {target: {befor: []}}", "hooks.target.befor: unknown key; did you mean before?"),
        ("hooks: {batch: {after: [{run: [], on: worker}]}}", "hooks.batch.after.0.run: must not be empty"),
        (
            "traffic: {haproxy: {socket: unix:/a, backend: b}}",
            "traffic.haproxy.socket: unknown key; did you mean sockets?",
        ),
        ("traffic: {}", "traffic: give exactly one of haproxy, caddy, caddy_files, command, not none"),
        (
            "traffic: {haproxy: {sockets: unix:/a, backend: b}, servers: {x.example: web1}}",
            "traffic.servers: there is no target x.example here; known: e.example",
        ),
    ],
)
def test_wrong_traffic_and_hooks_are_named(manifest: Path, added: str, says: str) -> None:
    docker = GOOD.replace(
        "provider: hosts\n    targets: [{host: e", f"provider: docker\n    {added}\n    targets: [{{host: e"
    )
    manifest.write_text(docker)
    with pytest.raises(ManifestInvalid) as caught:
        check_manifest(manifest, lambda _: HostOptions)
    assert f"rollout.yaml:26: regions.eu-west-1.{says}" in str(caught.value)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ('{engine: "unix:///x", log: {drver: local}}', "log.drver: unknown key; did you mean driver?"),
        ('{engine: "unix:///x", ulimits: {nofile: {sft: 3, hard: 4}}}', "nofile.sft: unknown key; did you mean soft?"),
        ('{engine: "unix:///x", memmory: 1g}', "memmory: unknown key; did you mean memory?"),
        ('{engine: "tcp://10.0.0.1:2375"}', "tcp://10.0.0.1:2375 would be spoken to in the clear"),
        ('{engine: "unix:///x", memory: lots}', "memory: 'lots' is not a size"),
    ],
)
def test_an_engines_options_are_named_with_the_nearest_right_key(manifest: Path, target: str, says: str) -> None:
    manifest.write_text(
        GOOD.replace("provider: hosts\n    targets: [{host: e.example}]", f"provider: docker\n    targets: [{target}]")
    )
    with pytest.raises(ManifestInvalid) as caught:
        check_manifest(manifest, lambda provider: DockerOptions if provider == "docker" else HostOptions)
    assert "rollout.yaml:26: regions.eu-west-1.targets.0" in str(caught.value)
    assert says in str(caught.value)


def test_traffic_and_hooks_stand_in_the_plan(manifest: Path) -> None:
    added = "traffic: {command: {drain: [a], undrain: [b]}}\n    hooks: {region: {before: [{run: [c], timeout: 1s}]}}"
    manifest.write_text(GOOD.replace("user: deploy", f"user: deploy\n    {added}"))
    east = Plan.model_validate_json(plan_of(manifest).model_dump_json()).regions["us-east-1"]
    assert east.traffic is not None
    assert east.traffic.server("a.example") == "a.example"
    assert east.hooks is not None
    assert east.hooks.at("region", "before") == (Hook(run=("c",), timeout=timedelta(seconds=1)),)
    assert east.targets[0].options == {"user": "deploy", "host": "a.example"}


def test_all_problems_are_told_at_once_in_the_order_of_the_file(manifest: Path) -> None:
    manifest.write_text(GOOD.replace("soak:", "soka:").replace("canary: 1", "canary: x"))
    with pytest.raises(ManifestInvalid) as caught:
        check_manifest(manifest, options_of)
    assert [problem.line for problem in caught.value.problems] == [4, 17]


WRONG = """\
servic: api
release: {version: "2.0.0", artifact: nope.tar.gz, imge: x}
waves:
  - {regions: [us-east-1, us-east-9], soka: 10m}
  - {regions: [us-west-2, EU, eu-west-2], soak: 10}
gates: [{name: healthy, event: healthy}]
regions:
  us-east-1: {provider: hosts, usr: x, targets: [{hst: a}], helth: {tcp: "a:1"}}
  us-west-2: {provider: hosts, targts: [{host: b}], health: {tcp: "a:1", intervall: 1s}, user: 5}
  EU: {providr: hosts, targets: [{host: c}], health: {tcp: "a:1"}}
  eu-west-2: {provider: hots, targets: [{host: d}, {host: d}], health: {tcp: "a:1"}}
  eu-west-3: {provider: hosts, targets: [{host: e}, {host: e}], health: {tcp: "a:1"}, time_zone: Mars}
"""


def test_whatever_is_wrong_in_any_part_is_told_in_one_pass(manifest: Path) -> None:
    manifest.write_text(WRONG)
    with pytest.raises(ManifestInvalid) as caught:
        check_manifest(manifest, options_of)
    assert sorted(f"{one.line} {one.path}: {one.message.partition(',')[0]}" for one in caught.value.problems) == sorted(
        [
            "1 service: is missing",
            "1 servic: unknown key; did you mean service?",
            "2 release.imge: unknown key; did you mean image?",
            f"2 release.artifact: there is no file {manifest.parent}/nope.tar.gz; build it",
            "4 waves.0.soka: unknown key; did you mean soak?",
            "4 waves.0.regions.1: unknown region us-east-9; known: us-east-1",
            "5 waves.1.soak: 10 is not a duration: write a number with its unit",
            "6 gates.0.event: must be an event's type",
            "8 regions.us-east-1.health: is missing",
            "8 regions.us-east-1.usr: unknown key; did you mean user?",
            "8 regions.us-east-1.helth: unknown key; did you mean health?",
            "8 regions.us-east-1.targets.0.host: is missing",
            "8 regions.us-east-1.targets.0.hst: unknown key; did you mean host?",
            "9 regions.us-west-2.targets: is missing",
            "9 regions.us-west-2.health.intervall: unknown key; did you mean interval?",
            "9 regions.us-west-2.targts: unknown key; did you mean targets?",
            "9 regions.us-west-2.user: must be text",
            "10 regions.EU: must be lower-case letters",
            "10 regions.EU.provider: is missing",
            "10 regions.EU.providr: unknown key; did you mean provider?",
            "11 regions.eu-west-2.provider: no provider is called hots; there are: hosts",
            "12 regions.eu-west-3: is in no wave; add it to one or remove it",
            "12 regions.eu-west-3.targets.1: is e again; a target stands in a region once",
            "12 regions.eu-west-3.time_zone: Mars is no IANA time zone",
        ]
    )


def test_a_file_that_is_not_there_or_no_mapping_says_so(tmp_path: Path) -> None:
    with pytest.raises(ManifestInvalid, match=r"none\.yaml: cannot be read: No such file"):
        check_manifest(tmp_path / "none.yaml", options_of)
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(ManifestInvalid, match="a manifest is a mapping"):
        check_manifest(tmp_path / "list.yaml", options_of)
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    with pytest.raises(ManifestInvalid, match="it is empty; fraisier init writes one"):
        check_manifest(tmp_path / "empty.yaml", options_of)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestInvalid, match="not UTF-8"):
        check_manifest(tmp_path / "bytes.yaml", options_of)


GROWING = "waves: {progressive: [1, 50%], soak: 5m, failure_tolerance: 1, batch: {max_parallel: 2}}\n"


def growing(path: Path, line: str = GROWING) -> Path:
    path.write_text(GOOD[: GOOD.index("waves:")] + line + GOOD[GOOD.index("gates:") :])
    return path


def test_waves_grow_by_one_line_and_a_region_says_more_than_its_wave(manifest: Path) -> None:
    text = growing(manifest).read_text()
    manifest.write_text(text.replace("user: deploy", "user: deploy\n    soak: 1m\n    on_failure: continue"))
    plan = plan_of(manifest)
    assert [(wave.number, wave.regions, wave.soak.total_seconds()) for wave in plan.waves] == [
        (1, ("us-east-1",), 300),
        (2, ("us-west-2",), 300),
        (3, ("eu-west-1",), 300),
    ]
    east, west = plan.regions["us-east-1"], plan.regions["us-west-2"]
    assert (east.canary, east.max_parallel, east.tolerance) == (1, 1, 1)
    assert (west.canary, west.max_parallel, west.tolerance) == (0, 1, 1)
    assert (east.soak, east.on_failure) == (timedelta(minutes=1), OnFailure.CONTINUE)
    assert plan.when_fails(plan.waves[1], "us-west-2") is OnFailure.ROLLBACK_ALL


def test_a_growing_wave_takes_what_is_left_in_the_last_size() -> None:
    part = GrowingWavesPart(progressive=(1, 2, "40%"))
    waves = part.over([f"r{number}" for number in range(10)])
    assert [len(wave.regions) for wave in waves] == [1, 2, 4, 3]
    assert [name for wave in waves for name in wave.regions] == [f"r{number}" for number in range(10)]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("waves: {progressive: [1], soka: 5m}", "rollout.yaml:3: waves.soka: unknown key; did you mean soak?"),
        ("waves: {progressive: [1, x]}", "rollout.yaml:3: waves.progressive.1: 'x' is neither a number"),
        ("waves: {progressive: []}", "rollout.yaml:3: waves.progressive: must not be empty"),
        ("waves: {soak: 5m}", "rollout.yaml:3: waves.progressive: is missing"),
        ("waves: nix", "rollout.yaml:3: waves: must be a list, not 'nix'"),
        ("waves: []", "rollout.yaml:3: waves: must not be empty"),
        (
            "waves: {progressive: [1], batch: {canry: 1}}",
            "rollout.yaml:3: waves.batch.canry: unknown key; did you mean",
        ),
    ],
)
def test_growing_waves_that_are_wrong_are_named(manifest: Path, line: str, says: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        check_manifest(growing(manifest, f"{line}\n"), options_of)
    assert says in str(caught.value)


def test_batches_take_of_every_zone_evenly(manifest: Path) -> None:
    zones = (
        "targets: [{host: a, zone: x}, {host: b, zone: x}, {host: c, zone: y}, {host: d, zone: y}]\n    spread: zone"
    )
    text = GOOD.replace("targets: [{host: d.example}]", zones)
    manifest.write_text(text)
    west = plan_of(manifest).regions["us-west-2"]
    assert [(target.name, target.options) for target in west.targets] == [
        ("a", {"host": "a"}),
        ("c", {"host": "c"}),
        ("b", {"host": "b"}),
        ("d", {"host": "d"}),
    ]
    manifest.write_text(text.replace("{host: c, zone: y}", "{host: c}"))
    with pytest.raises(ManifestInvalid, match=r"us-west-2\.targets\.2: has no zone, which `spread` goes by"):
        check_manifest(manifest, options_of)
    manifest.write_text(text.replace("spread: zone", "spread: port"))
    with pytest.raises(ManifestInvalid, match=r"us-west-2\.spread: port is an option of hosts"):
        check_manifest(manifest, options_of)


def test_strategies_say_how_targets_follow_each_other(manifest: Path) -> None:
    gate = "{name: smoke, event: health.check_passed}"
    canary = f"user: deploy\n    strategy: canary\n    promotion: {{gates: [{gate}], timeout: 5m}}"
    text = GOOD.replace("user: deploy", canary).replace("batch: {canary: 1, ", "batch: {")
    manifest.write_text(text)
    east = plan_of(manifest).regions["us-east-1"]
    assert east.promotion is not None
    assert (east.canary, east.promotion.timeout, east.promotion.gates[0].timeout.total_seconds()) == (
        1,
        timedelta(minutes=5),
        7,
    )
    manifest.write_text(GOOD.replace("user: deploy", "user: deploy\n    strategy: all_at_once"))
    east = plan_of(manifest).regions["us-east-1"]
    assert (east.canary, east.max_parallel, east.promotion) == (0, 3, None)


@pytest.mark.parametrize(
    ("added", "says"),
    [
        (
            "strategy: canery",
            "strategy: must be 'rolling', 'canary' or 'all_at_once', not 'canery'; did you mean canary?",
        ),
        (
            "strategy: blue_green",
            "strategy: no provider can keep two releases of a service ready on a target, so there is no blue_green;",
        ),
        ("promotion: {timeout: 1h}", "promotion: belongs to `strategy: canary`, not to rolling"),
        ("strategy: canary\n    batch: {canary: 1}", "strategy: a canary needs targets that follow it; there are 1"),
        ("promotion: {gate: []}", "promotion.gate: unknown key; did you mean gates?"),
    ],
)
def test_a_strategy_that_does_not_fit_is_named(manifest: Path, added: str, says: str) -> None:
    manifest.write_text(GOOD.replace("targets: [{host: d.example}]", f"targets: [{{host: d.example}}]\n    {added}"))
    with pytest.raises(ManifestInvalid) as caught:
        check_manifest(manifest, options_of)
    assert f"regions.us-west-2.{says}" in str(caught.value)


def test_a_canary_is_not_promoted_by_votes(manifest: Path) -> None:
    gate = "{name: sign-off, approval: {approvers: [ann]}, timeout: 1h}"
    manifest.write_text(
        GOOD.replace("user: deploy", f"user: deploy\n    strategy: canary\n    promotion: {{gates: [{gate}]}}")
    )
    with pytest.raises(ManifestInvalid, match=r"us-east-1\.promotion\.gates\.0\.approval: people let a canary"):
        check_manifest(manifest, options_of)

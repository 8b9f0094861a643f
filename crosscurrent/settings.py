"""The configuration: one YAML file, overridden by the environment, checked before anything is started.

Found at `-f FILE`, else `$CROSSCURRENT_CONFIG`, else `./crosscurrent.yaml`. Every field can be overridden by
`CROSSCURRENT_<FIELD>` (`CROSSCURRENT_NATS_URL`, `CROSSCURRENT_WORKERS`); lists are separated by commas. Relative paths
are relative to the file, so that a command means the same from any directory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from crosscurrent.document import Document, DocumentError, explain
from crosscurrent.errors import SettingsError
from schemas.config import Config, HubNamespace, NatsConfig
from schemas.names import ClusterName, Resource, is_cluster_name

API_VERSION = "crosscurrent.dev/v1alpha1"
DEFAULT_FILE = "crosscurrent.yaml"
CONFIG_VARIABLE = "CROSSCURRENT_CONFIG"
EXAMPLE = """\
apiVersion: crosscurrent.dev/v1alpha1
kind: Config
clusters:
  - {name: cluster1, kubeconfig: ./kubeconfig, context: c1}
reconcilers: [foo]"""

MAX_WORKERS = 64
"""More than that is a typing error on any one machine."""
_PREFIX = "CROSSCURRENT_"
_DURATION = re.compile(r"(\d+(\.\d+)?(ms|s|m|h))+")
_SERVICE_LINK = re.compile(r"^(tcp|udp|sctp)://")
_SCHEMES = ("nats", "tls", "ws", "wss")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration as read: paths are absolute."""

    config: Config
    path: Path | None
    """The file it came from; None where a command does without one."""

    @property
    def state_directory(self) -> Path:
        """Where `up` keeps the embedded broker's store and the address file."""
        return Path(self.config.state_directory)

    @property
    def directory(self) -> Path:
        """What relative paths start from, and where users' modules are looked for."""
        return self.path.parent if self.path else Path.cwd()

    def where(self) -> str:
        """Return what to call the configuration in a message."""
        return str(self.path) if self.path else "the environment"


def load(path: Path | None = None, *, required: bool = False, environ: Mapping[str, str] | None = None) -> Settings:
    """Read, override and check the configuration.

    Args:
        path: the `-f` option; None: `$CROSSCURRENT_CONFIG`, else `./crosscurrent.yaml`.
        required: whether there must be a file; a command that only reads the broker does without one.
        environ: environment variables; None: this process's.

    Raises:
        SettingsError: with every finding on a line of its own.

    """
    environ = os.environ if environ is None else environ
    found, named = _locate(path, environ)
    if found is None and (required or named):
        raise _no_file(Path(named) if named else Path.cwd() / DEFAULT_FILE, named=bool(named))
    values: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "Config"}
    document = _read(found) if found else None
    config = _convert(document, found) if document and found else msgspec.convert(values, Config)
    config = _override(config, environ)
    findings = list(_findings(config))
    if findings:
        raise SettingsError("\n".join(_located(found, document, *finding) for finding in findings))
    return Settings(config=_resolve(config, found.parent if found else Path.cwd()), path=found)


def _locate(path: Path | None, environ: Mapping[str, str]) -> tuple[Path | None, str]:
    """Return (the file if there is one, the name by which the user asked for it)."""
    named = str(path) if path else environ.get(CONFIG_VARIABLE, "")
    candidate = Path(named or DEFAULT_FILE).expanduser().absolute()
    return (candidate if candidate.exists() else None), named


def _no_file(path: Path, *, named: bool) -> SettingsError:
    if named:
        return SettingsError(f"{path}: no such file", f"check -f, or {CONFIG_VARIABLE}")
    return SettingsError(
        f"no configuration: {path} does not exist",
        f"name a file with -f, or write {DEFAULT_FILE}, for example:\n\n{EXAMPLE}",
    )


def _read(path: Path) -> Document:
    try:
        return Document(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise SettingsError(f"{path}: {reason}") from error
    except DocumentError as error:
        raise _wrap(path, error) from error


def _convert(document: Document, path: Path) -> Config:
    try:
        return document.convert(Config)
    except DocumentError as error:
        advice = ""
        if error.path in {"apiVersion", "kind"}:
            advice = f"the file must begin with\n\n{EXAMPLE.partition('clusters')[0].rstrip()}"
        raise _wrap(path, error, advice) from error


def _wrap(path: Path, error: DocumentError, advice: str = "") -> SettingsError:
    place = f"{path}:{error.line}" if error.line else str(path)
    return SettingsError(f"{place}: {error}", advice)


def _located(path: Path | None, document: Document | None, field: str, message: str) -> str:
    """Return a finding with its file and line, or just its field where it came from the environment."""
    line = document.line(field) if document and field in document.lines else 0
    place = f"{path}:{line}: " if line else (f"{path}: " if path and document else "")
    return f"{place}{field}: {message}"


def _override(config: Config, environ: Mapping[str, str]) -> Config:
    """Apply `CROSSCURRENT_<FIELD>`; groups are joined with an underscore. Clusters are too deep for a variable."""
    top: dict[str, Any] = {}
    nats: dict[str, Any] = {}
    for struct, prefix, into in ((Config, _PREFIX, top), (NatsConfig, f"{_PREFIX}NATS_", nats)):
        for field in msgspec.structs.fields(struct):
            if field.name in {"apiVersion", "kind", "clusters", "nats"}:
                continue
            text = environ.get(name := f"{prefix}{field.name.upper()}", "")
            # Kubernetes sets <SERVICE>_PORT=tcp://... in every pod beside a Service named crosscurrent-metrics.
            if text and not (field.name.endswith("_port") and _SERVICE_LINK.match(text)):
                into[field.name] = _from_text(name, text, field.type)
    if nats:
        top["nats"] = msgspec.structs.replace(config.nats, **nats)
    return msgspec.structs.replace(config, **top)


def _from_text(name: str, text: str, kind: Any) -> Any:
    value: Any = [item.strip() for item in text.split(",") if item.strip()] if kind not in (str, int, float) else text
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{name}: {explain(str(error), kind, value)[1]}") from error


def _findings(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (path, message) for everything that fits the types and still cannot be meant."""
    first: dict[ClusterName, int] = {}
    for index, cluster in enumerate(config.clusters):
        place = f"clusters[{index}].name"
        if not is_cluster_name(cluster.name):
            yield place, f"{cluster.name!r} is not a name: letters, digits, '-', '_' and '.', at most 63 characters"
        elif cluster.name in first:
            yield place, f"duplicate cluster name {cluster.name!r}, already used by clusters[{first[cluster.name]}]"
        first.setdefault(cluster.name, index)
        for number, plugin in enumerate(cluster.exec_allow):
            if not Path(plugin).is_absolute():
                yield f"clusters[{index}].exec_allow[{number}]", f"{plugin!r} is not an absolute path"
    for index, name in enumerate(config.reconcilers):
        if name in config.reconcilers[:index]:
            yield f"reconcilers[{index}]", f"{name!r} is listed twice"
    yield from _types("resources", [one if one != "*/*" else "" for one in config.resources])
    yield from _types("federation.types", config.federation.types)
    yield from _imports(config)
    yield from _registry(config)
    yield from _numbers(config)
    yield from _broker(config.nats)
    yield from _members(config)


def _types(field: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the names of types; empty ones are passed over."""
    for index, name in enumerate(names):
        try:
            Resource.parse(name or "v1/any")
        except ValueError as error:
            yield f"{field}[{index}]", str(error)


def _imports(config: Config) -> Iterator[tuple[str, str]]:
    known = [cluster.name for cluster in config.clusters]
    for field, form in (("accounts", "CLUSTER/NAMESPACE/NAME"), ("namespaces", "CLUSTER/NAMESPACE")):
        for index, text in enumerate(getattr(config.imports, field)):
            parts = text.split("/")
            if len(parts) != form.count("/") + 1 or not all(parts):
                yield f"imports.{field}[{index}]", f"{text!r} is not {form}"
            elif parts[0] not in known and not config.registry.hubs:
                yield f"imports.{field}[{index}]", f"no cluster {parts[0]!r} is declared"
    if not 1 <= config.imports.look_seconds <= 3600:
        yield "imports.look_seconds", f"{config.imports.look_seconds:g} is not between 1 and 3600 seconds"


def _registry(config: Config) -> Iterator[tuple[str, str]]:
    known = [cluster.name for cluster in config.clusters]
    found = config.registry
    places: dict[str, Sequence[HubNamespace]]
    places = {"secrets": found.secrets, "imports": found.imports, "profiles": found.profiles}
    for field, entries in places.items():
        for index, entry in enumerate(entries):
            if entry.cluster not in known:
                yield f"registry.{field}[{index}].cluster", f"no cluster {entry.cluster!r} is declared"
            if not entry.namespace:
                yield f"registry.{field}[{index}].namespace", "cannot be empty"
    for index, profiles in enumerate(found.profiles):
        for number, plugin in enumerate(profiles.access):
            if not Path(plugin.command).is_absolute():
                place = f"registry.profiles[{index}].access[{number}].command"
                yield place, f"{plugin.command!r} is not an absolute path"
    for index, text in enumerate(found.allow_addresses):
        try:
            ip_network(text)
        except ValueError as error:
            yield f"registry.allow_addresses[{index}]", str(error)


def _numbers(config: Config) -> Iterator[tuple[str, str]]:
    if not 0 <= config.workers <= MAX_WORKERS:
        yield "workers", f"{config.workers} is not between 0 and {MAX_WORKERS}"
    for field, port in (("probe_port", config.probe_port), ("metrics_port", config.metrics_port)):
        if not 0 <= port <= 65535:
            yield field, f"{port} is not a port (0 to 65535)"
    if config.probe_port and config.probe_port == config.metrics_port:
        yield "metrics_port", f"{config.metrics_port} is the probe_port already"
    if not 0.1 <= config.watch_retry_seconds <= 3600:
        yield "watch_retry_seconds", f"{config.watch_retry_seconds} is not between 0.1 and 3600 seconds"
    if config.garbage.give_up_after_seconds < 0:
        yield "garbage.give_up_after_seconds", "is less than nothing; 0 means never"
    if not config.state_directory:
        yield "state_directory", "cannot be empty"


def _broker(nats: NatsConfig) -> Iterator[tuple[str, str]]:
    if nats.url:
        for address in nats.url.split(","):
            parts = urlsplit(address.strip())
            if parts.scheme not in _SCHEMES or not parts.hostname:
                yield "nats.url", f"{address!r} is not an address such as nats://host:4222"
        if nats.port:
            yield "nats.port", "is the embedded broker's; an external one has its port in nats.url"
    elif nats.credentials or nats.token_file:
        yield (
            "nats.url",
            f"missing: {'credentials are' if nats.credentials else 'token_file is'} for an external broker",
        )
    if nats.token and nats.token_file:
        yield "nats.token_file", "there is nats.token already: give one of the two"
    if not 0 <= nats.port <= 65535:
        yield "nats.port", f"{nats.port} is not a port (0 to 65535)"
    if nats.sync != "always" and not _DURATION.fullmatch(nats.sync):
        yield "nats.sync", f"{nats.sync!r} is neither 'always' nor a duration such as 2m"
    if not 1 <= nats.replicas <= 5:
        yield "nats.replicas", f"{nats.replicas} is not between 1 and 5"
    if not 0 < nats.fact_days <= 3650:
        yield "nats.fact_days", f"{nats.fact_days} is not between 0 and 3650 days"


def _members(config: Config) -> Iterator[tuple[str, str]]:
    if not config.registry.joins:
        return
    if config.registry.joins not in [cluster.name for cluster in config.clusters]:
        yield "registry.joins", f"no cluster {config.registry.joins!r} is declared"
    for field in ("certificate", "key"):
        if not getattr(config.members, field):
            yield f"members.{field}", "missing: agents speak to the broker by TLS only"
    if config.nats.url:
        yield "nats.url", "clusters join the embedded broker only"
    if not config.nats.port:
        yield "nats.port", "missing: agents must know where the broker is"


def _resolve(config: Config, directory: Path) -> Config:
    """Make every path absolute, relative ones against the file's directory."""

    def absolute(text: str) -> str:
        return str(directory / Path(text).expanduser()) if text else ""

    nats = msgspec.structs.replace(
        config.nats, credentials=absolute(config.nats.credentials), token_file=absolute(config.nats.token_file)
    )
    clusters = tuple(msgspec.structs.replace(item, kubeconfig=absolute(item.kubeconfig)) for item in config.clusters)
    files = {field: absolute(getattr(config.members, field)) for field in ("certificate", "key", "authority")}
    return msgspec.structs.replace(
        config,
        nats=nats,
        clusters=clusters,
        members=msgspec.structs.replace(config.members, **files),
        state_directory=absolute(config.state_directory),
    )

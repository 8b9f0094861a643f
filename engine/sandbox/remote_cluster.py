"""A cluster that runs elsewhere and is reached by its kubeconfig: what the story in containers looks into.

It has the part of `ApiServer` that needs no process: requests, apply, identity. Only what the sandbox's own kubeconfigs hold
is understood: an https server, an embedded authority, and a token or an embedded client certificate.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from engine.runtime.credentials import on_disk
from engine.runtime.kubeconfig import Context
from engine.sandbox.api_client import ApiClient
from engine.sandbox.clusters import ReachableCluster
from engine.sandbox.processes import SandboxError

_IDENTITY_PATH = "/api/v1/namespaces/kube-system"


class RemoteCluster(ReachableCluster):
    """One cluster.

    Args:
        name: what it is called here.
        context: how to reach it.

    """

    def __init__(self, name: str, context: Context) -> None:
        super().__init__(name)
        self._client = client_of(context)

    @property
    def client(self) -> ApiClient:
        """A client that is who the kubeconfig says."""
        return self._client

    def identify(self) -> str:
        """Ask the cluster which one it is, and return that.

        Raises:
            SandboxError: when it does not say.

        """
        status, namespace = self.client.request("GET", _IDENTITY_PATH)
        if status != 200:
            raise SandboxError(f"{self.name}: GET {_IDENTITY_PATH}: {status} {namespace.get('message', '')}")
        self.identity = str(namespace["metadata"]["uid"])
        return self.identity

    def close(self) -> None:
        """Close idle connections."""
        self.client.close()


def client_of(context: Context) -> ApiClient:
    """Return a client of whatever a kubeconfig of the sandbox's leads to: a cluster, or the control endpoint."""
    address = urlsplit(context.server)
    token = str(context.user.get("token", ""))
    return ApiClient(address.port or 443, _trust(context), token=token, host=address.hostname or "")


def _trust(context: Context) -> ssl.SSLContext:
    authority = context.cluster.get("certificate-authority-data")
    trust = ssl.create_default_context(cadata=base64.b64decode(authority).decode() if authority else None)
    if "client-certificate-data" in context.user:
        with tempfile.TemporaryDirectory() as directory:  # the TLS library takes a key from files alone
            user = on_disk(context.user, Path(directory))
            trust.load_cert_chain(user["client-certificate"], user["client-key"])
    return trust

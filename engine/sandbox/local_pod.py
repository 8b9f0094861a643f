"""Stands in for a kubelet: runs the one container of a Deployment as a process here, with what its pod would have mounted.

In: a Deployment, its Secrets and its ServiceAccount, read from a sandbox's API server, which has no nodes. Out: a process of
this Python with the container's arguments, in which paths of mounts are those of copies. Nothing else of a pod is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any, Self

from engine.sandbox import identities
from engine.sandbox.api_servers import ApiServer
from engine.sandbox.processes import STOP_GRACE_SECONDS, SandboxError, free_port


class LocalPod:
    """The pod of a Deployment. As a context manager it runs until the block ends.

    Args:
        cluster: that holds the Deployment.
        namespace: of the Deployment.
        name: of the Deployment.
        directory: for mounts, credentials and the log.

    """

    def __init__(self, cluster: ApiServer, namespace: str, name: str, directory: Path) -> None:
        self._cluster, self._namespace, self._name, self.directory = cluster, namespace, name, directory
        self.log = directory / "pod.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Mount, and run the container.

        Raises:
            SandboxError: when something that the pod needs is not there.

        """
        self.directory.mkdir(parents=True, exist_ok=True)
        pod = self._get("apis/apps/v1", "deployments", self._name)["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        mounts = self._mount(pod.get("volumes", []))
        arguments = list(container["args"])
        for mount in container.get("volumeMounts", []):
            if path := mounts.get(mount["name"]):
                arguments = [text.replace(mount["mountPath"], str(path)) for text in arguments]
        # Probes and metrics of other pods on this machine must not be in the way.
        arguments = [str(free_port()) if text.isdecimal() else text for text in arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "crosscurrent", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, "KUBECONFIG": str(self._credentials(pod["serviceAccountName"]))},
            )

    def stop(self) -> None:
        """End the container in order."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it as a lost node would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _mount(self, volumes: list[dict[str, Any]]) -> dict[str, Path]:
        mounts = {}
        for volume in volumes:
            if "secret" in volume:
                path = mounts[volume["name"]] = self.directory / volume["name"]
                path.mkdir(mode=0o700, exist_ok=True)
                secret = self._get("api/v1", "secrets", volume["secret"]["secretName"])
                for key, value in (secret.get("data") or {}).items():
                    (path / key).write_bytes(b64decode(value))
            elif "emptyDir" in volume and not volume["emptyDir"].get("medium"):
                path = mounts[volume["name"]] = self.directory / volume["name"]
                path.mkdir(exist_ok=True)
        return mounts

    def _credentials(self, account: str) -> Path:
        path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{account}/token"
        status, answer = self._cluster.client.request("POST", path, {"spec": {}})
        if status != 201:
            raise SandboxError(f"POST {path}: {status} {answer.get('message', '')}")
        authority = (self._cluster.layout.directory / "ca.crt").read_bytes()
        config = identities.kubeconfig(
            self._cluster.name, self._cluster.url, authority, token=answer["status"]["token"]
        )
        file = self.directory / "kubeconfig"
        file.touch(mode=0o600)
        file.write_text(json.dumps(config))
        return file

    def _get(self, root: str, plural: str, name: str) -> dict[str, Any]:
        path = f"/{root}/namespaces/{self._namespace}/{plural}/{name}"
        status, answer = self._cluster.client.request("GET", path)
        if status != 200:
            raise SandboxError(f"GET {path}: {status} {answer.get('message', '')}")
        return dict(answer)

"""Ask a real kube-apiserver all cases, and write its answers to `*.json` beside this module; or those that are named.

To be run when cases were added or a new version of Kubernetes is simulated; the difference in the files is then the review.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.assets import ensure_assets
from tests.api_session import Answer, ApiSession
from tests.sandbox.simulator.observed import (
    answers,
    expressions,
    stories,
    texts,
    updates,
    wrong_definitions,
    wrong_objects,
)
from tests.sandbox.simulator.observed.good_objects import GOOD, Json
from tests.sandbox.simulator.observed.sessions import CONFIG_MAPS, DEPLOYMENTS, Request, requests

NAMESPACE = "observed"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
_BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
_ADDRESSES = "--service-cluster-ip-range=10.0.0.0/16"
_PATIENCE = 30.0
"""Seconds for a definition or a policy to take effect."""


class Recorder:
    """Asks one server. Call `prepare` first."""

    def __init__(self, session: ApiSession) -> None:
        self._session = session
        self._paths: dict[tuple[str, str], str] = {}

    async def prepare(self) -> None:
        """Learn the paths of all types, and make a namespace."""
        for version in sorted({one["apiVersion"] for one in GOOD}):
            root = f"/apis/{version}" if "/" in version else f"/api/{version}"
            for one in (await self._session.get(root)).body["resources"]:
                middle = f"/namespaces/{NAMESPACE}" if one["namespaced"] else ""
                if "/" not in one["name"]:
                    self._paths[version, one["kind"]] = f"{root}{middle}/{one['name']}"
        await self._session.post("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})

    async def refusals(self) -> Json:
        """Return what is said of wrong objects."""
        return await self._tried(wrong_objects.wrong_objects())

    async def definitions(self) -> Json:
        """Return what is said of wrong definitions."""
        return await self._tried(wrong_definitions.wrong_definitions())

    async def _tried(self, cases: Sequence[tuple[str, Json]]) -> Json:
        found: Json = {}
        for name, obj in cases:
            path = self._paths[obj["apiVersion"], obj["kind"]]
            answer = await self._session.post(path, obj, dryRun="All")
            found[name] = answers.refusal(answer.status, answer.body)
        return found

    async def texts(self) -> Json:
        """Return what is made of texts."""
        found: Json = {}
        for field in texts.TABLE:
            for name, obj in texts.cases(field):
                path = self._paths[obj["apiVersion"], obj["kind"]]
                answer = await self._session.post(path, obj, dryRun="All")
                warnings = [answers.warning(one) for one in answer.warnings]
                found[name] = texts.said(field, answer.status, answer.body, warnings)
        return found

    async def updates(self) -> Json:
        """Return what is said of changes."""
        found: Json = {}
        for kind, subresource, obj in updates.cases():
            path = self._paths[obj["apiVersion"], obj["kind"]]
            await self._session.post(path, obj)
            name = obj["metadata"]["name"]
            where = f"{path}/{name}{'/' if subresource else ''}{subresource}"
            for number, (field, value) in enumerate(updates.CHANGES[kind, subresource]):
                answer = await self._session.patch(where, updates.patch(field, value), dryRun="All")
                found[f"{kind} {subresource} {number} {field}"] = answers.refusal(answer.status, answer.body)
        return found

    async def session(self, kind: str, count: int, seed: int) -> list[Json]:
        """Return the answers to a session's writes."""
        path = self._paths["v1" if kind == "ConfigMap" else "apps/v1", kind]
        found = []
        for one in requests(kind, count, seed):
            answer = await self._written(path, "s", one, is_first=False)
            found.append(answers.written(answer.status, answer.body))
        return found

    async def stories(self) -> Json:
        """Return the answers to the writes of all stories."""
        await self._session.post(_DEFINITIONS, stories.DEFINITION)
        paths = dict(self._paths)
        custom = paths["v1", "ConfigMap"].replace("/api/v1", "/apis/observed.example.com/v1")
        paths["observed.example.com/v1", "Story"] = custom.replace("configmaps", "stories")
        await _until(
            lambda: self._session.get(paths["observed.example.com/v1", "Story"]), lambda answer: answer.status == 200
        )
        found: Json = {}
        for story, (kind, _) in stories.STORIES.items():
            path, name = paths[stories.KINDS[kind], kind], stories.object_name(story)
            for number, one in enumerate(stories.requests(story)):
                answer = await self._written(path, name, one, is_first=number == 0)
                told = answers.written(answer.status, answer.body)
                warnings = map(answers.warning, answer.warnings)
                found[f"{story} {number}"] = answers.with_warnings(told, warnings)
        return found

    async def _written(self, path: str, name: str, one: Request, *, is_first: bool) -> Answer:
        options = {"fieldManager": one.manager, **({"force": "true"} if one.force else {})}
        where = f"{path}/{name}{'/' if one.subresource else ''}{one.subresource}"
        if one.media_type != stories.REPLACE:
            return await self._session.patch(where, one.body, one.media_type, **options)
        if is_first:
            return await self._session.post(path, one.body, **options)
        return await self._session.put(where, one.body, **options)

    # Expressions

    async def values(self) -> Json:
        """Return the values of expressions, which an admission policy tells in warnings."""
        found: Json = {}
        for start in range(0, len(expressions.VALUES), 30):
            part = expressions.VALUES[start : start + 30]
            found.update(zip(part, await self._evaluated(part, f"observed-{start}"), strict=True))
        return found

    async def _evaluated(self, texts: Sequence[str], name: str) -> list[str]:
        rules = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
        validations = [
            {"expression": "false", "messageExpression": f"'{index}#' + ({text})"} for index, text in enumerate(texts)
        ]
        spec = {"matchConstraints": {"resourceRules": [rules]}, "validations": validations}
        made = await self._session.post(_POLICIES, _admission("ValidatingAdmissionPolicy", name, spec))
        if made.status != 201:
            raise SystemExit(made.message)
        binding = {"policyName": name, "validationActions": ["Warn"]}
        bound = _admission("ValidatingAdmissionPolicyBinding", name, binding)
        await self._session.post(_BINDINGS, bound)
        path, body = f"/api/v1/namespaces/{NAMESPACE}/configmaps", {"metadata": {"name": "x"}}
        answer = await _until(
            lambda: self._session.post(path, body, dryRun="All"),
            lambda answer: any(f"'{name}'" in one for one in answer.warnings),
        )
        await self._session.delete(f"{_BINDINGS}/{name}")
        await self._session.delete(f"{_POLICIES}/{name}")
        values = {}
        for warning in answer.warnings:
            number, _, value = answers.warning(warning).partition(f"with binding '{name}': ")[2].partition("#")
            values[int(number)] = value
        return [values[index] for index in range(len(texts))]

    async def errors(self) -> Json:
        """Return what is said of conditions that fail, as rules of a custom resource."""
        found: Json = {}
        for start in range(0, len(expressions.ERRORS), 6):
            part = expressions.ERRORS[start : start + 6]
            fields = {f"e{index}": expressions.field(text) for index, text in enumerate(part)}
            definition = expressions.definition(f"error{start}", fields)
            made = await self._session.post(_DEFINITIONS, definition)
            if made.status != 201:
                raise SystemExit(made.message)
            refused = await self._refused(definition, dict.fromkeys(fields, "v"))
            causes = {cause["field"]: cause["message"] for cause in refused.details["causes"]}
            found.update({text: causes[f"spec.e{index}"] for index, text in enumerate(part)})
        return found

    async def _refused(self, definition: Json, spec: Json) -> Answer:
        plural = definition["spec"]["names"]["plural"]
        path = f"/apis/observed.example.com/v1/namespaces/{NAMESPACE}/{plural}"
        obj = expressions.resource(definition, spec)
        answer = await _until(lambda: self._session.post(path, obj), lambda answer: answer.status != 404)
        await self._session.delete(f"{_DEFINITIONS}/{definition['metadata']['name']}")
        return answer


async def _until(ask: Callable[[], Awaitable[Answer]], done: Callable[[Answer], bool]) -> Answer:
    async with asyncio.timeout(_PATIENCE):
        while not done(answer := await ask()):
            await asyncio.sleep(0.1)
    return answer


def _admission(kind: str, name: str, spec: Json) -> Json:
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def main() -> None:
    """Start a server, ask it, write the files."""
    assets = ensure_assets(_report)
    with (
        tempfile.TemporaryDirectory() as directory,
        ApiServer("observed", Path(directory), assets=assets, api_server_flags=[_ADDRESSES]) as server,
    ):
        asyncio.run(_record(server.kubeconfig, sys.argv[1:]))


async def _record(kubeconfig: Mapping[str, Any], names: Sequence[str]) -> None:
    async with ApiSession.of(kubeconfig) as session:
        recorder = Recorder(session)
        await recorder.prepare()
        for name, record in (
            ("values", recorder.values),
            ("errors", recorder.errors),
            ("stories", recorder.stories),
            ("refusals", recorder.refusals),
            ("definitions", recorder.definitions),
            ("texts", recorder.texts),
            ("updates", recorder.updates),
            ("config_map_session", lambda: recorder.session("ConfigMap", *CONFIG_MAPS)),
            ("deployment_session", lambda: recorder.session("Deployment", *DEPLOYMENTS)),
        ):
            if names and name not in names:
                continue
            found = await record()
            answers.keep(name, found)
            _report(f"{name}: {len(found)} answers")


def _report(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()

"""Short stories of writes, each of one object, that show one rule of applies or patches.

In: nothing. Out: requests by the name of their story. They are put to a real server once; its answers are kept beside them.
"""

from __future__ import annotations

import copy

from tests.sandbox.simulator.observed import apply_stories, patch_stories
from tests.sandbox.simulator.observed.sessions import APPLY, MERGE, STRATEGIC, Request
from tests.sandbox.simulator.observed.story_bodies import DEFINITION, KINDS, Step

REPLACE = "application/json"
JSON_PATCH = "application/json-patch+json"

__all__ = ["DEFINITION", "KINDS", "REPLACE", "STORIES", "object_name", "requests"]

STORIES: dict[str, tuple[str, list[Step]]] = {
    name: (kind, steps)
    for kind, found in (
        ("ConfigMap", apply_stories.CONFIG_MAPS | patch_stories.CONFIG_MAPS),
        ("Story", apply_stories.STORIES | patch_stories.STORIES),
        ("Deployment", apply_stories.DEPLOYMENTS | patch_stories.DEPLOYMENTS),
        ("Service", apply_stories.SERVICES),
        ("ServiceAccount", patch_stories.SERVICE_ACCOUNTS),
    )
    for name, steps in found.items()
}
"""Kind and steps by name."""

_MEDIA_TYPES = {
    "apply": APPLY,
    "force": APPLY,
    "replace": REPLACE,
    "merge": MERGE,
    "strategic": STRATEGIC,
    "json": JSON_PATCH,
}


def object_name(story: str) -> str:
    """Return the name of a story's object."""
    return "".join(one if one.isalnum() else "-" for one in story.lower())


def requests(story: str) -> list[Request]:
    """Return the writes of a story; applies and replacements are whole objects."""
    kind, steps = STORIES[story]
    found = []
    for what, content in steps:
        verb, manager, *subresource = what.split()
        body = copy.deepcopy(content)
        if verb in {"apply", "force", "replace"} and isinstance(body, dict):
            body = {"apiVersion": KINDS[kind], "kind": kind, **body}
            body["metadata"] = {**(body.get("metadata") or {}), "name": object_name(story)}
        found.append(Request(_MEDIA_TYPES[verb], body, manager, verb == "force", "".join(subresource)))
    return found

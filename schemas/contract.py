"""The published contract of the streams: JSON Schemas of every payload and an AsyncAPI 3 document, generated from the types.

    python -m schemas.contract DIRECTORY

writes `asyncapi.yaml` and `schemas/*.json`. What is committed under `docs/contract` is held equal to what this generates, and
to what running watchers and workers publish, by tests. The version rises with what could break a reader: a field that goes or
means something else. What is only added does not break one, for readers pass over what they do not know.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import yaml

from schemas import subjects
from schemas.clusters import ClusterRecord
from schemas.decisions import Entry
from schemas.deletions import Deletion
from schemas.facts import Fact, SyncRecord

VERSION = "1.0.0"
_TYPES: dict[str, Any] = {
    "fact": msgspec.defstruct(  # `data` is raw to readers of ours, and an object in the contract
        "Fact",
        [
            (field.name, field.type, msgspec.field(default=field.default))
            for field in msgspec.structs.fields(Fact)
            if field.name != "data"
        ],
        kw_only=True,
    ),
    "sync": SyncRecord,
    "decision": Entry,
    "cluster": ClusterRecord,
    "deletion": Deletion,
}
_ENVELOPE = {
    "specversion": {"const": "1.0"},
    "source": {"type": "string", "description": "`/clusters/NAME/apis/GROUP/VERSION/RESOURCE`."},
    "datacontenttype": {"const": "application/json"},
}
"""What every CloudEvent carries and no reader of ours asks for."""
_OBJECT = {
    "description": "The object as its API server sent it, less managedFields; values of Secrets are keyed hashes, or sealed. "
    "null: not known.",
    "type": ["object", "null"],
}
_CHANNELS = {
    "facts": (
        f"{subjects.FACTS}.{{cluster}}.{{group}}.{{resource}}.{{namespace}}.{{name}}",
        "fact",
        "Every change of every object, as the watchers saw it. Stream FACTS keeps them by age, STATE the last of each.",
    ),
    "sync": (
        f"{subjects.SYNC}.{{cluster}}.{{group}}.{{resource}}",
        "sync",
        "How far a type of a cluster is known. From `started` or `gap` to `completed`, what is missing is unknown.",
    ),
    "decisions": (
        f"{subjects.DECISIONS}.{{reconciler}}.{{cluster}}.{{group}}.{{resource}}.{{namespace}}.{{name}}",
        "decision",
        "What was decided, on which facts, and what became of it. Stream DECISIONS keeps the last 16 of a subject.",
    ),
}
_TOKENS = {
    "cluster": "Configured name of the cluster.",
    "group": "API group; `core` for the core group.",
    "resource": "Plural name of the type.",
    "namespace": "`_` for what has none.",
    "name": "Name of the object. In every token, all but letters, digits, `_`, `:` and `-` is percent-escaped.",
    "reconciler": "Name of the reconciler.",
}


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a payload: `fact`, `sync`, `decision`, `cluster` or `deletion`."""
    found = msgspec.json.schema(_TYPES[name])
    definitions = found.pop("$defs")
    top = definitions.pop(found.pop("$ref").rpartition("/")[2])
    if name in ("fact", "sync"):
        top["properties"] = {**_ENVELOPE, **top["properties"]}
        top["required"] = sorted({*top["required"], *_ENVELOPE})
    if name == "fact":
        top["properties"]["data"] = _OBJECT
        top["required"] = sorted({*top["required"], "data"})
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, "version": VERSION, **top}
    if definitions:
        document["$defs"] = definitions
    return document


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3 document."""
    channels, operations, messages = {}, {}, {}
    for name, (address, payload, description) in _CHANNELS.items():
        tokens = [part[1:-1] for part in address.split(".") if part.startswith("{")]
        channels[name] = {
            "address": address,
            "description": description,
            "parameters": {token: {"description": _TOKENS[token]} for token in tokens},
            "messages": {payload: {"$ref": f"#/components/messages/{payload}"}},
        }
        operations[f"receive-{name}"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": f"Subscribe to {name}; wildcards may stand for any token.",
        }
        reference = f"schemas/{payload}.json"
        messages[payload] = {
            "name": payload,
            "contentType": "application/json" if payload == "decision" else "application/cloudevents+json",
            "payload": {"schemaFormat": "application/schema+json;version=2020-12", "schema": {"$ref": reference}},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Crosscurrent",
            "version": VERSION,
            "description": "The streams of Crosscurrent, for any NATS client to read. Only its own processes publish.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {"host": "{host}:4222", "protocol": "nats", "variables": {"host": {"default": "127.0.0.1"}}}
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def files() -> dict[str, str]:
    """Return the text of every file of the contract, by its path."""
    found = {
        f"schemas/{name}.json": msgspec.json.format(msgspec.json.encode(schema(name)), indent=2).decode() + "\n"
        for name in _TYPES
    }
    return {"asyncapi.yaml": yaml.safe_dump(asyncapi(), sort_keys=False, width=120), **found}


if __name__ == "__main__":
    for path, text in files().items():
        place = Path(sys.argv[1]) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

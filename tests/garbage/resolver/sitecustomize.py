"""Imported by each Python process of the system under test when it starts: names that lead to the proxies, or to nothing.

`<cluster>.xgc.test` is this machine, unless a file of that name lies in the directory CROSSCURRENT_XGC_UNRESOLVED: then the
name is not known, as from a nameserver that has lost a zone.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

ZONE = ".xgc.test"
_real = socket.getaddrinfo


def _getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
    if isinstance(host, str) and host.endswith(ZONE):
        if (Path(os.environ["CROSSCURRENT_XGC_UNRESOLVED"]) / host).exists():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        host = "127.0.0.1"
    return _real(host, *arguments, **options)


socket.getaddrinfo = _getaddrinfo

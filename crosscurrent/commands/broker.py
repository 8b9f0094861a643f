"""`crosscurrent broker`: where the broker is, for NATS clients of one's own."""

from __future__ import annotations

from urllib.parse import quote

from crosscurrent import settings as configuration
from crosscurrent.options import ConfigFile
from crosscurrent.output import say
from crosscurrent.state_directory import BrokerAddress, find_broker


def broker(*, config: ConfigFile = None) -> int:
    """Print the address of the broker, with the token that it asks for."""
    say(address_with_token(find_broker(configuration.load(config))))
    return 0


def address_with_token(address: BrokerAddress) -> str:
    """Return the URL that any NATS client connects to: `nats://TOKEN@127.0.0.1:PORT`."""
    if not address.token:
        return address.url
    servers = [url.strip().partition("://") for url in address.url.split(",")]
    return ",".join(f"{scheme}://{quote(address.token, safe='')}@{place}" for scheme, _, place in servers)

#!/usr/bin/env python3
"""Steers one host to all its peers as scripts around the Jalapeno API do: one request per peer, one after the other, then
delete and add of the route. The measure that `scripts/measure connect` holds our own way against.

Usage: python_peers.py API_BASE SOURCE_KEY INTERFACE. Prints one JSON object. The time leaves out what Python needs to
start and to import.
"""

import ipaddress
import json
import sys
import time

import pyroute2
import requests
from pyroute2.netlink.exceptions import NetlinkError

GRAPH = "fabric_graph"
DECAPSULATE = 0xFE06
ESRCH = 3


def with_function(carrier: str) -> str:
    """The carrier with the decapsulation function in its first free 16 bits, after a block of 32."""
    value = int(ipaddress.IPv6Address(carrier))
    for shift in range(80, -1, -16):
        if (value >> shift) & 0xFFFF == 0:
            return str(ipaddress.IPv6Address(value | DECAPSULATE << shift))
    raise ValueError(f"no room for a function in {carrier}")


def steer(base: str, source: str, peer: str, routes: pyroute2.IPRoute, interface: int) -> None:
    answer = requests.get(
        f"{base}/graphs/{GRAPH}/shortest_path/load",
        params={"source": f"hosts/{source}", "destination": f"hosts/{peer}", "direction": "outbound"},
        timeout=30,
    )
    answer.raise_for_status()
    path = answer.json()
    if not path["found"]:
        raise ValueError(f"no path to {peer}")
    destination = path["destination_info"]
    prefix = f"{destination['prefix']}/{destination['prefix_len']}"
    try:
        routes.route("del", dst=prefix, table=254)
    except NetlinkError as error:
        if error.code != ESRCH:
            raise
    segments = with_function(path["srv6_data"]["srv6_usid"])
    encap = {"type": "seg6", "mode": "encap", "segs": segments}
    routes.route("add", dst=prefix, oif=interface, table=254, encap=encap)


def main() -> None:
    base, source, name = sys.argv[1:]
    documents = requests.get(f"{base}/collections/hosts", timeout=30).json()["data"]
    peers = [document["_key"] for document in documents if document["_key"] != source]
    with pyroute2.IPRoute() as routes:
        interface = routes.link_lookup(ifname=name)[0]
        started = time.perf_counter()
        for peer in peers:
            steer(base, source, peer, routes, interface)
        seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peers": len(peers)}))


if __name__ == "__main__":
    main()

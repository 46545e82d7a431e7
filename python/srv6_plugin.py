"""SRv6 paths for torch.distributed: routes to all peers are in place before a backend connects to them.

`enable()` makes `torch.distributed.init_process_group` do so; `DemoPlugin` is the class that programs written for the
earlier Python plugin of this name use. Steering itself is done by libsrv6-shim.so, preloaded or loaded from here.
"""

import ctypes
import errno
import fcntl
import functools
import inspect
import ipaddress
import logging
import os
import socket
import struct
import time
from urllib.parse import urlsplit

import nccl_net_srv6

__all__ = ["DemoPlugin", "SteeringError", "enable", "steer"]

log = logging.getLogger("srv6_plugin")

LIBRARY = "libsrv6-shim.so"
SIOCGIFADDR = 0x8915  # linux/sockios.h


class SteeringError(RuntimeError):
    """A destination that has no route of ours: `destination`, `code` (an errno) and `reason`."""

    def __init__(self, destination, code, reason):
        super().__init__(f"{destination}: {reason}")
        self.destination, self.code, self.reason = destination, code, reason


def steer(destination, timeout_ms=5000, library=None):
    """Puts the route to a numeric address in place, waiting up to `timeout_ms` for its path.

    Raises SteeringError: EHOSTUNREACH if the topology doesn't have the address, ETIMEDOUT, EPERM without
    CAP_NET_ADMIN, EINVAL for what isn't an address or a wrong setting.
    """
    _shim(library).steer(destination, timeout_ms)


def enable(api_endpoint=None, library=None):
    """Makes torch.distributed.init_process_group steer to all peers before the backend connects.

    `api_endpoint` goes before JALAPENO_API_ENDPOINT; `library` is the shim's file; left out, it is the one of
    the wheel, or else what the loader finds.
    """
    import torch.distributed as dist

    original = dist.init_process_group
    if hasattr(original, "srv6_steering"):
        return
    shim = _prepared(api_endpoint, library)

    @functools.wraps(original)
    def init_process_group(*args, **kwargs):
        steering = _Steering(shim, _Settings())
        return steering.initialise(original, *args, **kwargs)

    init_process_group.srv6_steering = True
    dist.init_process_group = init_process_group


class DemoPlugin:
    """Initialises a process group whose connections are steered.

    `steered` maps a rank to the addresses of it that have routes, `unsteered` a rank (or "master") to why it has none.
    """

    def __init__(self, api_endpoint=None, library=None):
        self.api_endpoint = api_endpoint
        self._shim = _prepared(api_endpoint, library)
        self.steered, self.unsteered = {}, {}

    def init_process_group(self, backend="gloo", **kwargs):
        """Steers to every peer, then initialises torch.distributed with these arguments.

        Returns True if every peer on another host is steered. False: the group is there, and `unsteered` tells which
        peers it reaches by ordinary routes. Raises what torch raises, and with SRV6_STRICT=1 SteeringError.
        """
        import torch.distributed as dist

        original = inspect.unwrap(dist.init_process_group)
        steering = _Steering(self._shim, _Settings())
        self.steered, self.unsteered = steering.steered, steering.unsteered
        steering.initialise(original, backend, **kwargs)
        return not self.unsteered


class _Settings:
    """What is read from the environment here; the shim reads its own settings."""

    def __init__(self):
        mistakes = []
        self.interface = os.environ.get("BACKEND_INTERFACE") or None
        if self.interface and self.interface not in (name for _, name in socket.if_nameindex()):
            mistakes.append(f"BACKEND_INTERFACE={self.interface!r}: there is no such interface")
        strict = os.environ.get("SRV6_STRICT") or "0"
        if strict not in ("0", "1"):
            mistakes.append(f"SRV6_STRICT={strict!r}: want 0 or 1")
        self.strict = strict == "1"
        timeout = os.environ.get("SRV6_CONNECT_TIMEOUT_MS") or "5000"
        if not (timeout.isascii() and timeout.isdigit() and 1 <= int(timeout) <= 600_000):
            mistakes.append(f"SRV6_CONNECT_TIMEOUT_MS={timeout!r}: want 1 to 600000 (milliseconds)")
        elif not mistakes:
            self.timeout_ms = int(timeout)
        if mistakes:
            raise ValueError("; ".join(mistakes))


class _Shim:
    """The C functions of libsrv6-shim.so."""

    def __init__(self, library):
        # A preloaded shim is in the program's own scope; a second copy would count its routes apart.
        functions = ctypes.CDLL(None)
        if not hasattr(functions, "srv6_shim_steer"):
            try:
                functions = ctypes.CDLL(library or _packaged() or LIBRARY)
            except OSError as error:
                raise OSError(
                    f"{error}; want the path of {LIBRARY} as library=, its folder in LD_LIBRARY_PATH, "
                    "or the library itself in LD_PRELOAD"
                ) from error
        self._steer, self._error = functions.srv6_shim_steer, functions.srv6_shim_error
        self._steer.argtypes, self._steer.restype = [ctypes.c_char_p, ctypes.c_int], ctypes.c_int
        self._error.argtypes, self._error.restype = [], ctypes.c_char_p

    def steer(self, destination, timeout_ms):
        code = -self._steer(str(destination).encode(), max(1, int(timeout_ms)))
        if code:
            reason = (self._error() or b"").decode(errors="replace") or os.strerror(code)
            raise SteeringError(destination, code, reason)


def _packaged():
    """The shim of this package's wheel; None in a package without libraries, where the loader has to find one."""
    try:
        return nccl_net_srv6.shim_path()
    except FileNotFoundError:
        return None


@functools.lru_cache(maxsize=None)
def _shim(library):
    return _Shim(library)


def _prepared(api_endpoint, library):
    """The shim, with the path API that was asked for in the environment that it reads."""
    if api_endpoint:
        os.environ["JALAPENO_API_ENDPOINT"] = api_endpoint
    elif not os.environ.get("JALAPENO_API_ENDPOINT") and not os.environ.get("SRV6_TOPOLOGY"):
        raise ValueError("no source of paths: give api_endpoint, or set JALAPENO_API_ENDPOINT or SRV6_TOPOLOGY")
    return _shim(library)


class _Steering:
    """One process group: who its peers are, and which of them are steered."""

    def __init__(self, shim, settings):
        self._shim, self._settings = shim, settings
        self._deadline = None
        self.steered, self.unsteered = {}, {}

    def initialise(self, original, *args, **kwargs):
        import torch.distributed as dist

        call = inspect.signature(original).bind(*args, **kwargs).arguments
        if str(call.get("backend", "")).lower() == "mpi":
            self._fail("master", errno.ENOTSUP, "backend mpi has no store to tell addresses through; preload the shim")
            return original(*args, **kwargs)
        self._deadline = time.monotonic() + self._settings.timeout_ms / 1000
        store = call.pop("store", None)
        rank, world_size = call.pop("rank", -1), call.pop("world_size", -1)
        if store is None:
            url = call.pop("init_method", None) or "env://"
            self._steer_master(url)
            timed = {"timeout": call["timeout"]} if call.get("timeout") is not None else {}
            store, rank, world_size = next(dist.rendezvous(url, rank, world_size, **timed))
            if timed:
                store.set_timeout(timed["timeout"])
        # The rendezvous may have waited long for other ranks; that is no time of the path API's.
        self._deadline = time.monotonic() + self._settings.timeout_ms / 1000
        self._steer_peers(dist.PrefixStore("srv6", store), rank, world_size)
        # A rank listens for its peers in here, so all its own routes are in place before any of them connects.
        return original(store=dist.PrefixStore("group", store), rank=rank, world_size=world_size, **call)

    def _steer_master(self, url):
        """Steers to where the rendezvous is, if that is on another host of the topology."""
        parts = urlsplit(url)
        name = {"env": os.environ.get("MASTER_ADDR"), "tcp": parts.hostname}.get(parts.scheme)
        if not name:
            return
        own = _own_addresses(None)
        for *_, address in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
            address = ipaddress.ip_address(address[0].split("%")[0])
            if address in own or address.is_loopback:
                continue
            try:
                self._steer(address)
            except SteeringError as error:
                # A rendezvous in a network of its own is as it should be; only the data have paths.
                if error.code == errno.EHOSTUNREACH:
                    log.info("master %s is not in the topology", address)
                else:
                    self._fail("master", error.code, str(error))

    def _steer_peers(self, store, rank, world_size):
        own = _own_addresses(self._settings.interface)
        store.set(str(rank), ",".join(map(str, own)))
        everywhere = set(_own_addresses(None))
        for peer in range(world_size):
            if peer == rank:
                continue
            told = [ipaddress.ip_address(text) for text in store.get(str(peer)).decode().split(",") if text]
            if everywhere.intersection(told):
                continue
            self._steer_peer(peer, told)

    def _steer_peer(self, peer, addresses):
        errors = []
        for address in addresses:
            try:
                self._steer(address)
                self.steered.setdefault(peer, []).append(str(address))
            except SteeringError as error:
                errors.append(error)
        known = [error for error in errors if error.code != errno.EHOSTUNREACH]
        # Addresses that the topology doesn't have, such as those of a management network, are no failure beside one that it has.
        if known or peer not in self.steered:
            worst = (known or errors or [SteeringError(f"rank {peer}", errno.EINVAL, "it has no address")])[0]
            self._fail(peer, worst.code, str(worst))

    def _steer(self, address):
        self._shim.steer(address, (self._deadline - time.monotonic()) * 1000)
        log.info("%s is steered", address)

    def _fail(self, peer, code, reason):
        who = peer if isinstance(peer, str) else f"rank {peer}"
        if self._settings.strict:
            raise SteeringError(who, code, reason)
        log.warning("%s goes unsteered: %s", who, reason)
        self.unsteered[peer] = reason


def _own_addresses(interface):
    """This host's unicast addresses, IPv6 first, of one interface or (None) of all; neither loopback nor link-local."""
    found = []
    with open("/proc/self/net/if_inet6", encoding="ascii") as table:
        for line in table:
            digits, *_, name = line.split()
            found.append((name, ipaddress.ip_address(bytes.fromhex(digits))))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            try:
                reply = fcntl.ioctl(any_socket, SIOCGIFADDR, struct.pack("40s", name.encode()))
            except OSError:
                continue  # it has no IPv4 address
            found.append((name, ipaddress.ip_address(reply[20:24])))
    usable = [a for name, a in found if interface in (None, name) and not (a.is_loopback or a.is_link_local)]
    return list(dict.fromkeys(usable))

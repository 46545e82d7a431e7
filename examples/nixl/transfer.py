"""Moves host memory between two machines with NIXL over UCX, both ways, and checks every byte.

    transfer.py target --port 5555
    transfer.py initiator --ip ADDRESS_OF_TARGET --port 5555

The initiator READs a buffer of the target's and WRITEs one into it, --count times each. ADDRESS is where NIXL's own
listener of metadata is reached, by IPv4; the data go between the addresses that UCX finds, on the interfaces in
UCX_NET_DEVICES. Ordinary NIXL: nothing in here knows of paths.
"""

import argparse
import pickle
import sys
import time

import torch
from nixl_cu12 import nixl_agent, nixl_agent_config

PATIENCE = 120.0  # seconds for whatever the other side has to do


def pattern(size, seed):
    """Bytes that differ from place to place and between the two directions."""
    return torch.randint(0, 256, (size,), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def await_that(what, ready):
    """What `ready` gives once it gives something."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        result = ready()
        if result:
            return result
        time.sleep(0.002)
    sys.exit(f"transfer: no {what} within {PATIENCE:.0f} s")


def await_message(agent, peer):
    return await_that(f"message from {peer}", lambda: agent.get_new_notifs().get(peer))[0]


def target(options):
    agent = nixl_agent("target", nixl_agent_config(True, True, options.port))
    offered, received = pattern(options.size, 1), torch.zeros(options.size, dtype=torch.uint8)
    registered = agent.register_memory([offered, received])
    print("target is ready", flush=True)
    await_that("initiator", lambda: agent.check_remote_metadata("initiator"))
    descriptors = [agent.get_serialized_descs(agent.get_xfer_descs([t])) for t in (offered, received)]
    agent.send_notif("initiator", pickle.dumps(descriptors))
    # One message for each WRITE comes with its last byte.
    writes = 0
    while writes < options.count:
        news = await_that("WRITE", lambda: agent.get_new_notifs().get("initiator"))
        writes += news.count(b"written")
    if not torch.equal(received, pattern(options.size, 2)):
        sys.exit("transfer: WRITE brought other bytes than were sent")
    print(f"WRITE {options.count} x {options.size} bytes: all as sent", flush=True)
    agent.send_notif("initiator", b"checked")
    await_that("end", lambda: b"end" in (agent.get_new_notifs().get("initiator") or []))
    agent.deregister_memory(registered)


def move(agent, operation, local, remote, options, message):
    handle = agent.initialize_xfer(operation, agent.get_xfer_descs([local]), remote, "target", message)
    for _ in range(options.count):
        state = agent.transfer(handle)
        if state == "PROC":
            state = await_that(f"end of {operation}", lambda: (s := agent.check_xfer_state(handle)) != "PROC" and s)
        if state != "DONE":
            sys.exit(f"transfer: {operation} ended as {state}")
    agent.release_xfer_handle(handle)


def initiator(options):
    agent = nixl_agent("initiator", nixl_agent_config(True, True, 0))
    fetched, sent = torch.zeros(options.size, dtype=torch.uint8), pattern(options.size, 2)
    registered = agent.register_memory([fetched, sent])
    agent.fetch_remote_metadata("target", options.ip, options.port)
    agent.send_local_metadata(options.ip, options.port)
    await_that("target", lambda: agent.check_remote_metadata("target"))
    offered, receiving = (agent.deserialize_descs(d) for d in pickle.loads(await_message(agent, "target")))
    move(agent, "READ", fetched, offered, options, b"")
    if not torch.equal(fetched, pattern(options.size, 1)):
        sys.exit("transfer: READ brought other bytes than were offered")
    print(f"READ {options.count} x {options.size} bytes: all as offered", flush=True)
    move(agent, "WRITE", sent, receiving, options, b"written")
    await_message(agent, "target")
    agent.send_notif("target", b"end")
    agent.deregister_memory(registered)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("role", choices=["target", "initiator"])
    arguments.add_argument("--ip", help="where the target's listener is reached (initiator only)")
    arguments.add_argument("--port", type=int, default=5555)
    arguments.add_argument("--size", type=int, default=1 << 20, help="bytes of one transfer")
    arguments.add_argument("--count", type=int, default=16, help="transfers each way")
    options = arguments.parse_args()
    if options.role == "initiator" and not options.ip:
        arguments.error("--ip: an initiator needs the target's address")
    {"target": target, "initiator": initiator}[options.role](options)


if __name__ == "__main__":
    main()

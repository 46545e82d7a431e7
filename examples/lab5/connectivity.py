"""Lab 5's program: a process group over steered paths, and pings over the same routes.

Takes RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT and JALAPENO_API_ENDPOINT from the environment, as the first version of
this lab did.
"""

import os
import subprocess
import sys

import torch
import torch.distributed as dist

from srv6_plugin import DemoPlugin


def main():
    plugin = DemoPlugin(api_endpoint=os.environ["JALAPENO_API_ENDPOINT"])
    complete = plugin.init_process_group(backend="gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    print(f"rank {rank} of {size}: {'every peer is steered' if complete else plugin.unsteered}", flush=True)

    sum_of_ranks = torch.tensor([float(rank)])
    dist.all_reduce(sum_of_ranks)
    print(f"the ranks add up to {sum_of_ranks.item():.0f}", flush=True)

    answered = 0
    for addresses in plugin.steered.values():
        for address in addresses:
            subprocess.run(["ip", "route", "get", address], check=True)
            ping = subprocess.run(["ping", "-n", "-q", "-c", "4", "-i", "0.2", "-W", "10", address], check=False)
            answered += ping.returncode == 0
    # Nobody leaves, and takes its routes along, while others still ping.
    dist.barrier()
    passed = complete and answered == size - 1
    print(f"SRv6 connectivity test {'PASSED' if passed else 'FAILED'}! ({answered} successful pings)", flush=True)
    dist.destroy_process_group()
    sys.exit(not passed)


if __name__ == "__main__":
    main()

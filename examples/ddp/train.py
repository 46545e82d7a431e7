"""Trains a small CNN with DistributedDataParallel over gloo, on data that it makes itself.

Ordinary PyTorch: it takes MASTER_ADDR, MASTER_PORT, RANK and WORLD_SIZE from the environment, as torchrun and every
scheduler set them, and knows nothing of networks. Each rank trains on pictures of its own; the task is to tell in which
quarter of a noisy picture a bright spot is. At the end every rank prints its last loss and a digest of its weights,
which is the same on all ranks, and the same in every run with as many ranks.
"""

import argparse
import hashlib

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

SIDE = 16  # pixels


def batch(size, generator):
    """Pictures (size, 1, SIDE, SIDE) and the quarter (0 to 3) in which each has its spot."""
    pictures = torch.randn(size, 1, SIDE, SIDE, generator=generator)
    quarters = torch.randint(0, 4, (size,), generator=generator)
    within = torch.randint(1, SIDE // 2 - 2, (size, 2), generator=generator)
    for picture, quarter, (row, column) in zip(pictures, quarters, within):
        row += quarter // 2 * (SIDE // 2)
        column += quarter % 2 * (SIDE // 2)
        picture[0, row : row + 2, column : column + 2] += 2.5
    return pictures, quarters


def network(width):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * (SIDE // 2) ** 2, width),
        nn.ReLU(),
        nn.Linear(width, 4),
    )


def digest(model):
    """SHA-256 over all weights, to the last bit."""
    sum_of = hashlib.sha256()
    for weight in model.state_dict().values():
        sum_of.update(weight.numpy().tobytes())
    return sum_of.hexdigest()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--steps", type=int, default=40)
    arguments.add_argument("--batch", type=int, default=32, help="pictures per rank and step")
    arguments.add_argument("--width", type=int, default=256, help="of the hidden layer; 4 KB of gradients each")
    arguments = arguments.parse_args()

    torch.manual_seed(0)
    # One order of additions, so that two runs can be compared to the last bit.
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    pictures = torch.Generator().manual_seed(1000 + rank)
    model = DistributedDataParallel(network(arguments.width))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loss_of = nn.CrossEntropyLoss()
    for step in range(1, arguments.steps + 1):
        inputs, wanted = batch(arguments.batch, pictures)
        optimizer.zero_grad()
        loss = loss_of(model(inputs), wanted)
        loss.backward()
        optimizer.step()
        if step == 1 or step == arguments.steps:
            print(f"rank {rank} step {step} loss {loss.item():.4f}", flush=True)
    print(f"rank {rank} weights {digest(model.module)}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

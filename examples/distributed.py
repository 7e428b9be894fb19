"""LightGCN on several processes, in one plain loop with torch's DistributedDataParallel.

torchrun --nproc-per-node 2 examples/distributed.py    # a process per GPU, or two on the CPU
python examples/distributed.py                         # one process: the same curve up to rounding

All processes sample the same batches and each computes its share of every batch. After an
interruption, run the same command again: it continues from the last epoch.
"""

import argparse
import json
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch_geometric import seed_everything

from pyg_mmgef.datasets import SyntheticShop
from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import BPRLoss, LightGCN, Recommender
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.transforms import SplitInteractions

INTERACTS = ('user', 'interacts', 'item')

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--root', type=Path, default=Path('runs/shop'), help='where the shop is kept')
parser.add_argument('--output', type=Path, default=Path('runs/distributed'))
parser.add_argument('--epochs', type=int, default=50)
parser.add_argument('--batch-size', type=int, default=2048, help='of all processes together')
parser.add_argument('--lr', type=float, default=5e-3)
parser.add_argument('--seed', type=int, default=0)
parser.add_argument('--timeout', type=float, default=300, help='seconds to wait for a process')
args = parser.parse_args()

# 1. Join the other processes; torchrun sets their ranks and address as environment variables.
device = torch.device('cpu')
if torch.cuda.is_available():
    device = torch.device('cuda', int(os.environ.get('LOCAL_RANK', 0)))
    torch.cuda.set_device(device)
backend = 'nccl' if device.type == 'cuda' else 'gloo'
timeout = timedelta(seconds=args.timeout)
if dist.is_torchelastic_launched():
    dist.init_process_group(backend, timeout=timeout)
else:
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
rank, num_processes = dist.get_rank(), dist.get_world_size()
print(f'Process {rank} of {num_processes} has pid {os.getpid()}', flush=True)

# 2. The first process makes the shop, the others read it.
if rank > 0:
    dist.barrier()
train, val, test = SplitInteractions(seed=args.seed)(SyntheticShop(args.root)[0])
if rank == 0:
    args.output.mkdir(parents=True, exist_ok=True)
    dist.barrier()
train = train.to(device)


class BatchLoss(torch.nn.Module):
    """The loss as a `forward`: DistributedDataParallel synchronises the gradients of no other."""

    def __init__(self, model: Recommender, loss_fn: torch.nn.Module) -> None:
        super().__init__()
        self.model, self.loss_fn = model, loss_fn

    def forward(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        """Return the loss of a batch of triplets."""
        return self.model.loss(train, users, items, negatives, self.loss_fn)


# 3. Model, optimiser and loader, alike in every process but for the share of a batch.
seed_everything(args.seed)
model = LightGCN.from_data(train, embedding_dim=64, num_layers=2).to(device)
parallel = DistributedDataParallel(BatchLoss(model, BPRLoss()))
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, fused=True)
generator = torch.Generator().manual_seed(args.seed)
loader = TripletLoader(
    train,
    args.batch_size,
    shuffle=True,
    generator=generator,
    num_replicas=num_processes,
    rank=rank,
)

# 4. Continue where an earlier run ended.
checkpoint = args.output / 'last.ckpt'
curve: list[dict[str, float]] = []
if checkpoint.exists():
    state = torch.load(checkpoint, map_location='cpu', weights_only=True)
    model.load_state_dict(state['model'])
    optimizer.load_state_dict(state['optimizer'])
    loader.load_state_dict(state['loader'])
    curve = state['curve']


def train_epoch(epoch: int) -> float:
    """Train for an epoch and return the mean loss of its batches."""
    model.start_epoch(train, epoch)
    parallel.train()
    total = torch.zeros((), device=device)
    for number, batch in enumerate(loader):
        loss = loader.loss_weight(number) * parallel(*batch)
        optimizer.zero_grad()
        loss.backward()  # Averages the gradients over the processes.
        optimizer.step()
        total += loss.detach()
    dist.all_reduce(total)
    return total.item() / (num_processes * len(loader))


def finish_epoch(loss: float) -> None:
    """Evaluate, and write a checkpoint that is never half of one."""
    model.eval()
    with torch.inference_mode():
        z_user, z_item = model(train)
    metrics = evaluate_ranking(
        z_user,
        z_item,
        target=val[INTERACTS].edge_label_index,
        exclude=train[INTERACTS].edge_index,
        k=20,
    )
    curve.append({'loss': loss, **metrics})
    print(f'Epoch {len(curve)}: loss {loss:.6f}, recall@20 {metrics["recall@20"]:.4f}', flush=True)
    state = {
        'model': model.state_dict(),
        'optimizer': optimizer.state_dict(),
        'loader': loader.state_dict(),
        'curve': curve,
    }
    temporary = checkpoint.with_suffix('.tmp')
    torch.save(state, temporary)
    temporary.replace(checkpoint)


# 5. Train. If a process dies, the others fail when they next exchange gradients, or torchrun ends
# them.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
try:
    for epoch in range(len(curve), args.epochs):
        loss = train_epoch(epoch)
        if rank == 0:
            finish_epoch(loss)
except BaseException:
    print(
        f'Process {rank} stops. If another one died, the report of torchrun below names it. '
        f'Run the same command again to go on from {checkpoint}.',
        file=sys.stderr,
    )
    raise

if rank == 0:
    model.eval()
    with torch.inference_mode():
        z_user, z_item = model(train)
    seen = torch.cat([train[INTERACTS].edge_index.cpu(), val[INTERACTS].edge_label_index], dim=1)
    for name, value in evaluate_ranking(
        z_user, z_item, target=test[INTERACTS].edge_label_index, exclude=seen
    ).items():
        print(f'{name:>14}: {value:.4f}')
    (args.output / 'curve.json').write_text(json.dumps(curve, indent=2))
# gloo's thread frees the last tensor only now, and aborts if the interpreter has ended by then.
time.sleep(0.1)
dist.destroy_process_group()

"""The shortest loop by hand for data that is resident in memory: no records, no checkpoints, nothing configurable.

With `--best` as one who knows would write it: channels_last, fused Adam, ReLU after the pool, samples picked by
`index_select`, and evaluation in batches whose layers are small enough for the allocator to use their memory again.
"""

import torch
from common import BATCH_SIZE, VAL, Cnn, arguments, network, report, timed
from torch.nn import functional
from torchvision.datasets import MNIST

options = arguments()
best = options.best
EVAL_BATCH_SIZE = 256 if best else 1000
torch.manual_seed(options.seed)


class BestCnn(Cnn):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(torch.max_pool2d(self.conv1(x), 2))
        x = torch.relu(torch.max_pool2d(self.conv2(x), 2))
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


def resident(train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    data = MNIST(options.root, train=train)
    return data.data.unsqueeze(1), data.targets


def prepare(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float().mul_(1 / (255 * 0.3081)).sub_(0.1307 / 0.3081)


inputs, targets = resident(train=True)
order = torch.randperm(len(inputs))
train_index, val_index = order[VAL:], order[:VAL]
test_inputs, test_targets = resident(train=False)
model = BestCnn() if best and options.model == "cnn" else network(options.model)
if best:
    model = model.to(memory_format=torch.channels_last)
optimizer = torch.optim.Adam(model.parameters(), fused=best or None)


def train() -> None:
    model.train()
    for index in train_index[torch.randperm(len(train_index))].split(BATCH_SIZE):
        batch = prepare(inputs.index_select(0, index) if best else inputs[index])
        if best:
            batch = batch.contiguous(memory_format=torch.channels_last)
        loss = functional.cross_entropy(model(batch), targets[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def accuracy(pixels: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    with torch.inference_mode():
        found = [
            (model(prepare(x)).argmax(1) == y).sum()
            for x, y in zip(pixels.split(EVAL_BATCH_SIZE), labels.split(EVAL_BATCH_SIZE), strict=True)
        ]
    return float(torch.stack(found).sum()) / len(labels)


with timed("fit"):
    for _ in range(options.epochs):
        train()
        accuracy(inputs[val_index], targets[val_index])
with timed("test"):
    result = accuracy(test_inputs, test_targets)
report(result)

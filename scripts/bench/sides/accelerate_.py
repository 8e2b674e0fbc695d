"""Accelerate: the tutorial loop with its objects prepared."""

import torch
from accelerate import Accelerator
from common import BATCH_SIZE, arguments, network, report, splits, timed
from torch import nn
from torch.utils.data import DataLoader

options = arguments()
torch.manual_seed(options.seed)
accelerator = Accelerator()
train_set, val_set, test_set = splits(options.root)
model = network(options.model)
model, optimizer, train_loader, val_loader, test_loader = accelerator.prepare(
    model,
    torch.optim.Adam(model.parameters()),
    DataLoader(train_set, batch_size=BATCH_SIZE, shuffle=True),
    DataLoader(val_set, batch_size=BATCH_SIZE),
    DataLoader(test_set, batch_size=BATCH_SIZE),
)
criterion = nn.CrossEntropyLoss()


def accuracy(loader: DataLoader) -> float:
    model.eval()
    correct = samples = 0
    with torch.no_grad():
        for inputs, targets in loader:
            predictions, targets = accelerator.gather_for_metrics((model(inputs).argmax(1), targets))
            correct += (predictions == targets).sum().item()
            samples += len(targets)
    return correct / samples


with timed("fit"):
    for _ in range(options.epochs):
        model.train()
        for batch, (inputs, targets) in enumerate(train_loader):
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            accelerator.backward(loss)
            optimizer.step()
            if batch % 100 == 99:
                print(f"batch {batch + 1}: loss {loss.item():.3f}")
        print(f"val accuracy {accuracy(val_loader):.4f}")
with timed("test"):
    result = accuracy(test_loader)
report(result)

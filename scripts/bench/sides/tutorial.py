"""The loop that PyTorch's tutorials teach."""

import torch
from common import BATCH_SIZE, arguments, network, report, splits, timed
from torch import nn
from torch.utils.data import DataLoader

options = arguments()
torch.manual_seed(options.seed)
train_set, val_set, test_set = splits(options.root)
train_loader = DataLoader(train_set, batch_size=BATCH_SIZE, shuffle=True)
val_loader = DataLoader(val_set, batch_size=BATCH_SIZE)
test_loader = DataLoader(test_set, batch_size=BATCH_SIZE)
model = network(options.model)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters())


def train() -> None:
    model.train()
    running_loss = 0.0
    for batch, (inputs, targets) in enumerate(train_loader):
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        if batch % 100 == 99:
            print(f"batch {batch + 1}: loss {running_loss / 100:.3f}")
            running_loss = 0.0


def accuracy(loader: DataLoader) -> float:
    model.eval()
    correct = 0
    with torch.no_grad():
        for inputs, targets in loader:
            correct += (model(inputs).argmax(1) == targets).sum().item()
    return correct / len(loader.dataset)


with timed("fit"):
    for _ in range(options.epochs):
        train()
        print(f"val accuracy {accuracy(val_loader):.4f}")
with timed("test"):
    result = accuracy(test_loader)
report(result)

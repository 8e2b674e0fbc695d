"""PyTorch Ignite as its quick start has it."""

import torch
from common import BATCH_SIZE, arguments, network, report, splits, timed
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.metrics import Accuracy, Loss
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
trainer = create_supervised_trainer(model, torch.optim.Adam(model.parameters()), criterion)
evaluator = create_supervised_evaluator(model, metrics={"accuracy": Accuracy(), "loss": Loss(criterion)})


@trainer.on(Events.ITERATION_COMPLETED(every=100))
def log_training_loss(engine):
    print(f"epoch {engine.state.epoch}, step {engine.state.iteration}: loss {engine.state.output:.2f}")


@trainer.on(Events.EPOCH_COMPLETED)
def log_validation():
    evaluator.run(val_loader)
    print(f"val accuracy {evaluator.state.metrics['accuracy']:.4f}")


with timed("fit"):
    trainer.run(train_loader, max_epochs=options.epochs)
with timed("test"):
    evaluator.run(test_loader)
report(evaluator.state.metrics["accuracy"])

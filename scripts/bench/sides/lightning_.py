"""PyTorch Lightning at its defaults: progress bar, logger, checkpoints, sanity check."""

import lightning
import torch
from common import BATCH_SIZE, arguments, network, report, splits, timed
from torch.nn import functional
from torch.utils.data import DataLoader

options = arguments()
lightning.seed_everything(options.seed)


class Classifier(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = network(options.model)

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        loss = functional.cross_entropy(self.network(inputs), targets)
        self.log("train_loss", loss)
        return loss

    def _evaluate(self, batch, name):
        inputs, targets = batch
        outputs = self.network(inputs)
        self.log(f"{name}_loss", functional.cross_entropy(outputs, targets))
        self.log(f"{name}_accuracy", (outputs.argmax(1) == targets).float().mean())

    def validation_step(self, batch, batch_idx):
        self._evaluate(batch, "val")

    def test_step(self, batch, batch_idx):
        self._evaluate(batch, "test")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


train_set, val_set, test_set = splits(options.root)
trainer = lightning.Trainer(max_epochs=options.epochs)
model = Classifier()
with timed("fit"):
    trainer.fit(model, DataLoader(train_set, BATCH_SIZE, shuffle=True), DataLoader(val_set, BATCH_SIZE))
with timed("test"):
    (result,) = trainer.test(model, DataLoader(test_set, BATCH_SIZE))
report(result["test_accuracy"])

"""skorch with the same split; its data is the torchvision data set."""

import numpy as np
import torch
from common import BATCH_SIZE, arguments, network, report, splits, timed
from skorch import NeuralNetClassifier
from skorch.callbacks import EpochScoring
from skorch.helper import predefined_split
from torch import nn

options = arguments()
torch.manual_seed(options.seed)
train_set, val_set, test_set = splits(options.root)
net = NeuralNetClassifier(
    network(options.model),
    criterion=nn.CrossEntropyLoss,
    optimizer=torch.optim.Adam,
    lr=1e-3,
    batch_size=BATCH_SIZE,
    max_epochs=options.epochs,
    iterator_train__shuffle=True,
    train_split=predefined_split(val_set),
    classes=list(range(10)),
    callbacks__valid_acc=EpochScoring("accuracy", name="valid_acc", lower_is_better=False),
)
with timed("fit"):
    net.fit(train_set, y=None)
with timed("test"):
    found = net.predict(test_set)
report(float(np.mean(found == test_set.targets.numpy())))

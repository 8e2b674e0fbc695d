"""fastai's Learner over the torchvision data set; constant rate, as for the others."""

import torch
from common import BATCH_SIZE, arguments, network, report, splits, timed
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.metrics import accuracy
from fastai.optimizer import Adam
from torch import nn
from torch.utils.data import DataLoader

options = arguments()
torch.manual_seed(options.seed)
train_set, val_set, test_set = splits(options.root)
loaders = DataLoaders(
    DataLoader(train_set, batch_size=BATCH_SIZE, shuffle=True), DataLoader(val_set, batch_size=BATCH_SIZE)
)
learn = Learner(
    loaders, network(options.model), loss_func=nn.CrossEntropyLoss(), opt_func=Adam, metrics=accuracy, lr=1e-3
)
with timed("fit"):
    learn.fit(options.epochs)
with timed("test"):
    _, result = learn.validate(dl=DataLoader(test_set, batch_size=BATCH_SIZE))
report(float(result))

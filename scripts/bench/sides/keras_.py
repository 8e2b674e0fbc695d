"""Keras 3 with the torch backend; its data is arrays, as in Keras's own MNIST example."""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
from common import BATCH_SIZE, VAL, arguments, report, timed
from keras import layers
from torchvision.datasets import MNIST

options = arguments()
keras.utils.set_random_seed(options.seed)


def arrays(train):
    data = MNIST(options.root, train=train)
    pixels = (data.data.numpy().astype("float32") / 255 - 0.1307) / 0.3081
    return np.expand_dims(pixels, -1), data.targets.numpy()


inputs, targets = arrays(train=True)
order = np.random.permutation(len(inputs))
val, train = order[:VAL], order[VAL:]
body = (
    [
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
    ]
    if options.model == "cnn"
    else []
)
head = [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(10)]
model = keras.Sequential([keras.Input((28, 28, 1)), *body, *head])
model.compile(
    optimizer=keras.optimizers.Adam(1e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
with timed("fit"):
    model.fit(
        inputs[train],
        targets[train],
        batch_size=BATCH_SIZE,
        epochs=options.epochs,
        validation_data=(inputs[val], targets[val]),
    )
with timed("test"):
    _, accuracy = model.evaluate(*arrays(train=False))
report(accuracy)

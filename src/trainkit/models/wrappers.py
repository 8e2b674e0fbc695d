"""Other frameworks' classes that are no models to train here, known by their names: none of them is imported."""

from __future__ import annotations

TRAINERS = "it trains by itself; give the torch.nn.Module inside"

ADVICE = {
    ("torch", "RecursiveScriptModule"): "give the module that TorchScript was made of",
    ("skorch", "NeuralNet"): TRAINERS,
    ("sklearn", "BaseEstimator"): TRAINERS,
    ("fastai", "Learner"): TRAINERS,
    ("transformers", "Trainer"): TRAINERS,
    ("keras", "Layer"): "write it as a torch.nn.Module",
}
"""By the package and the class, which may be a base."""


def advice(kind: type) -> str | None:
    """What to give instead of a class like this, or an object of it; None where nothing speaks against it."""
    for base in kind.__mro__:
        package, name = base.__module__.partition(".")[0], base.__name__
        if found := ADVICE.get((package, name)):
            return f"is a {name} of {package}: {found}"
        if name == "LightningModule" and getattr(kind, "forward", None) is getattr(base, "forward", None):
            return "is a LightningModule without a forward method: write one; training_step is not called"
    return None

"""What a sample's input is. Importing this registers every kind that trainkit has."""

from trainkit.data.inputs.base import InputKind
from trainkit.data.inputs.numbers import Numbers
from trainkit.data.inputs.pictures import Pictures
from trainkit.data.inputs.sequences import Sequences
from trainkit.data.inputs.texts import Texts

__all__ = ["InputKind", "Numbers", "Pictures", "Sequences", "Texts"]

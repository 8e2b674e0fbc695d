"""Who hears what a run says: console, metrics.jsonl, TensorBoard, metrics.csv, and sinks of a user's own."""

from trainkit.sinks.base import SinkConfig as SinkConfig
from trainkit.sinks.console import ConsoleConfig as ConsoleConfig
from trainkit.sinks.csv import CsvConfig as CsvConfig
from trainkit.sinks.jsonl import JsonlConfig as JsonlConfig
from trainkit.sinks.tensorboard import TensorBoardConfig as TensorBoardConfig

"""The loop and what it is made of: losses, metrics, optimizers, schedulers, averages, records. Importing this registers
every loss and metric that trainkit ships."""

from trainkit.training import losses, segmentation_losses, loss_sum, metrics, segmentation_metrics  # isort: skip

__all__ = ["loss_sum", "losses", "metrics", "segmentation_losses", "segmentation_metrics"]

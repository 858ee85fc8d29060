"""Tag LHC jets from their images, with every run tracked in MLflow."""

__version__ = "0.1.0"

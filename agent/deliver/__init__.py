"""Delivery of every sample to the configured databases, and reading back from them."""

from agent.deliver.worker import Delivery, SinkStatus

__all__ = ["Delivery", "SinkStatus"]

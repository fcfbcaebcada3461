"""Delivery of every sample to the configured databases, and reading back from them."""

from agent.deliver.status import SinkStatus
from agent.deliver.worker import Delivery

__all__ = ["Delivery", "SinkStatus"]

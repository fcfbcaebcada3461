"""The agent's configuration: read, checked as a whole, frozen.

Importing this is cheap: the kinds of probe (and numpy with them) are loaded when a configuration is.
"""

from __future__ import annotations

from pathlib import Path

from agent.config.comparison import ConfigDifference, circuits_changed, difference, moved
from agent.config.secret import Secret, SecretSource
from agent.config.settings import AgentConfig, ReflectorSettings, Role, SinkSettings, StoreSettings

__all__ = [
    "AgentConfig",
    "ConfigDifference",
    "ReflectorSettings",
    "Role",
    "Secret",
    "SecretSource",
    "SinkSettings",
    "StoreSettings",
    "circuits_changed",
    "difference",
    "effective",
    "json_schema",
    "load",
    "moved",
]


def load(path: Path) -> AgentConfig:
    """Read `path` and conf.d/*.yaml beside it.

    Raises DocumentError with every problem of every file; LocalError when a file cannot be read at all.
    """
    from agent.config.reading import load as read_all

    return read_all(path)


def json_schema() -> dict[str, object]:
    """JSON Schema of the file, for editors, with the parameters of every kind of probe."""
    from agent.config.sections import config_file
    from agent.document import schema

    return schema(config_file())


def effective(config: AgentConfig) -> dict[str, object]:
    """The configuration in force, in the words of the file; reads back as the same configuration.

    It never holds a secret: the file does not, it only says where one is kept.
    """
    return dict(config.written)

"""The help of the commands that keep ledgers names the default of --config once."""

from __future__ import annotations

import pytest
from tests.agent.cli.commands import linkwitness


@pytest.mark.parametrize("command", [])
def test_the_default_configuration_is_told_once(command: str) -> None:
    told = linkwitness(*command.split(), "--help").stdout
    assert told.count("/etc/linkwitness/agent.yaml") == 1

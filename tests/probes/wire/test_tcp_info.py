"""struct tcp_info against a live connection of this kernel and against damage."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.core.errors import PacketError
from probes.wire import tcp_info


def test_fields_agree_with_a_live_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            client.sendall(bytes(70_000))
            received = 0
            while received < 70_000:
                received += len(accepted.recv(65536))
            ours = tcp_info.decode(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcp_info.SIZE))
            theirs = tcp_info.decode(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcp_info.SIZE))
            segment = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    assert ours.state == theirs.state == 1
    assert ours.bytes_received == 70_000
    assert theirs.maximum_segment == segment
    assert theirs.retransmits == 0


@given(st.binary(max_size=300))
def test_short_is_an_error_and_nothing_else_raises(data: bytes) -> None:
    if len(data) < 104:
        with pytest.raises(PacketError):
            tcp_info.decode(data)
    else:
        info = tcp_info.decode(data)
        assert (info.bytes_acked is None) == (len(data) < tcp_info.SIZE)

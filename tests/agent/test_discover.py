"""Default gateway and resolver, from tables as Linux prints them."""

from pathlib import Path

import pytest

from agent.discover import HostFiles, find

ROUTE_HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


@pytest.fixture
def files(tmp_path: Path) -> HostFiles:
    return HostFiles(tmp_path / "route", tmp_path / "ipv6_route", tmp_path / "resolv.conf")


def test_the_default_route_of_lowest_metric_wins(files: HostFiles) -> None:
    # 0101A8C0 is 192.168.1.1 in the kernel's byte order; the second default has metric 50 and wins.
    files.route.write_text(
        ROUTE_HEADER
        + "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        + "eth1\t00000000\tFE00000A\t0003\t0\t0\t50\t00000000\t0\t0\t0\n"
        + "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
    )
    assert find("gateway", files) == "10.0.0.254"


def test_a_default_route_that_is_down_or_without_gateway_does_not_count(files: HostFiles) -> None:
    files.route.write_text(
        ROUTE_HEADER
        + "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"
        + "eth0\t00000000\t0101A8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n"
    )
    assert find("gateway", files) is None


def test_an_ipv6_only_host_has_its_gateway_with_the_zone(files: HostFiles) -> None:
    files.route.write_text(ROUTE_HEADER)
    zero, gateway = "0" * 32, "fe800000000000000000000000000001"
    files.ipv6_route.write_text(
        f"{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
        f"{zero} 00 {zero} 00 {gateway} 00000400 00000001 00000000 00000003     eth0\n"
    )
    assert find("gateway", files) == "fe80::1%eth0"


def test_the_first_usable_nameserver_is_the_resolver(files: HostFiles) -> None:
    files.resolv_conf.write_text("# comment\nsearch example.net\nnameserver not-an-address\nnameserver 192.0.2.53\n")
    assert find("resolver", files) == "192.0.2.53"


def test_a_host_without_any_of_it(files: HostFiles) -> None:
    assert find("gateway", files) is None
    assert find("resolver", files) is None

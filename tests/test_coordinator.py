import socket

import pytest

from mskjax.coordinator import check, check_port, doubt


@pytest.mark.parametrize("address", ["localhost:1", "node7.cluster:65535", "10.0.0.1:12345", "[::1]:12345"])
def test_hosts_with_a_port(address):
    check(address)


@pytest.mark.parametrize(
    ("address", "example"),
    [
        ("node7", "node7:12345"),
        ("node7:0", "node7:12345"),
        ("node7:65536", "node7:12345"),
        ("node7:port", "node7:12345"),
        (":80", "localhost:12345"),
        ("http://node7:80", "node7:12345"),
    ],
)
def test_others_are_refused_with_an_example(address, example):
    with pytest.raises(ValueError, match=rf"{address} is not HOST:PORT; .* from 1 to 65535, as in {example}$"):
        check(address)


def test_a_port_that_another_program_has_is_refused():
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        address = f"localhost:{other.getsockname()[1]}"
        with pytest.raises(ValueError, match=rf"--coordinator={address} cannot be had here \(Address already in use\)"):
            check_port(address)
    check_port(address)


def test_hosts_that_nobody_knows_are_told_of():
    assert doubt("localhost:80") == doubt("127.0.0.1:80") == ""
    assert doubt("no-such-host.invalid:80").startswith("; no host no-such-host.invalid is known here so far (")

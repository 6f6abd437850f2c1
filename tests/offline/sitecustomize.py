"""Put on PYTHONPATH, it takes the network away from a Python: every address but this computer's own is refused.

A notebook's kernel talks to its client over the loopback interface, which stays.
"""

import socket

_LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")
_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


def _refuse_beyond_this_computer(address):
    host = address[0] if isinstance(address, tuple) else ""  # a socket file has a text for its address
    if host and not str(host).startswith(_LOOPBACK):
        raise OSError(f"the network is blocked: {host}")


def connect(self, address):
    _refuse_beyond_this_computer(address)
    return _connect(self, address)


def connect_ex(self, address):
    _refuse_beyond_this_computer(address)
    return _connect_ex(self, address)


def getaddrinfo(host, *arguments, **keywords):
    _refuse_beyond_this_computer((host,))
    return _getaddrinfo(host, *arguments, **keywords)


socket.socket.connect = connect
socket.socket.connect_ex = connect_ex
socket.getaddrinfo = getaddrinfo

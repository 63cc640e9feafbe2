"""A client that upgrades to TLS with Python's ssl, publishes once, and says that it worked.

Arguments: port, authorities, TLS1_2 or TLS1_3, and a certificate with its key if it has one.
"""

import json
import socket
import ssl
import struct
import sys


def frame(stream):
    """The data of the next frame."""
    size = struct.unpack(">I", read(stream, 4))[0]
    return read(stream, size)[4:]


def read(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            sys.exit("closed")
        data += piece
    return data


def main():
    port, authorities, version, *identity = sys.argv[1:]
    context = ssl.create_default_context(cafile=authorities)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version.replace("TLS", "TLSv")]
    if identity:
        context.load_cert_chain(*identity)
    plain = socket.create_connection(("127.0.0.1", int(port)), timeout=30)
    body = b'{"feature_negotiation":true,"tls_v1":true}'
    plain.sendall(b"  V2IDENTIFY\n" + struct.pack(">I", len(body)) + body)
    if not json.loads(frame(plain))["tls_v1"]:
        sys.exit("no TLS")
    secure = context.wrap_socket(plain, server_hostname="localhost")
    if frame(secure) != b"OK":
        sys.exit("no OK")
    secure.sendall(b"PUB policy\n" + struct.pack(">I", 1) + b"x")
    print(frame(secure).decode())


main()

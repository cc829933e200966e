"""A node of the program under test, and what its tests need around it."""

import contextlib
import socket
import struct
import threading

from adit_test import *
from node_client import *

SECRET = "a key of sixteen or more characters"
UNWATCHED = {"ADIT_NODE_SANDBOX": "off"} if UNSANDBOXED else {}
# As nginx has it, so that nobody can tell who has no key.
DECOY = (b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n"
         b"<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n"
         b"</body>\r\n</html>\r\n")
assert len(DECOY) == 146


class Node(Process):
    """`allow`: rules; services of tests are on loopback, which is closed otherwise."""

    def __init__(self, lab, name="node", allow=("127.0.0.0/8", "::1"), environment=None,
                 **settings):
        self.config, self.admin = lab.path(name + ".toml"), lab.path(name + ".sock")
        rules = {"allow": list(allow)} if allow else {}  # an empty list is a mistake
        toml_file(self.config, {"listen": f"127.0.0.1:{lab.free_port()}", **rules,
                                "admin": self.admin, "io_backend": lab.backend, **settings,
                                "log": {"format": "json", "level": "info"}})
        super().__init__(lab, name, [ADIT, "node", "-c", self.config],
                         environment={"TUNNEL_AUTH_KEY": SECRET, **UNWATCHED,
                                      **(environment or {})})
        host, port = self.wait_event("node.ready")["address"].rsplit(":", 1)
        self.address = (host, int(port))

    def udp_sockets(self):
        numbers = set()
        for table in ("udp", "udp6"):
            with open(f"/proc/{self.pid}/net/{table}", encoding="ascii") as f:
                numbers |= {line.split()[9] for line in f.readlines()[1:]}
        mine = [os.readlink(f"/proc/{self.pid}/fd/{fd}") for fd in
                os.listdir(f"/proc/{self.pid}/fd")]
        return sum(link.removeprefix("socket:[").rstrip("]") in numbers for link in mine)


def serve(lab, sock, run):
    """`run` on a thread of its own; at the case's end the socket is closed under it, at once."""
    def quiet():
        with contextlib.suppress(OSError):
            run()

    thread = threading.Thread(target=quiet, daemon=True)
    thread.start()

    def end():
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)  # wakes a reader, also where it says ENOTCONN
        thread.join(PATIENCE)
        sock.close()

    lab.on_exit(end)


class UdpEcho:
    """What comes goes back behind `mark`."""

    def __init__(self, lab, host="127.0.0.1", mark=b"", port=0):
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET,
                                  socket.SOCK_DGRAM)
        self.sock.bind((host, port))
        self.mark, self.seen, self.port = mark, [], self.sock.getsockname()[1]
        serve(lab, self.sock, self.run)

    def run(self):
        while True:
            data, peer = self.sock.recvfrom(70000)
            if peer is None:
                return
            self.seen.append((peer, data))
            self.sock.sendto(self.mark + data, peer)


def frame(flags, number, target=b"", datagram=b""):
    body = struct.pack(">BH", flags, number) + target + datagram
    return struct.pack(">H", len(body)) + body


def v4(host, port):
    return b"\x01" + socket.inet_aton(host) + struct.pack(">H", port)


def named(name, port):
    return b"\x03" + bytes([len(name)]) + name.encode() + struct.pack(">H", port)


class Frames:
    """The client's end of a UDP gateway in a session."""

    def __init__(self, tunnel, host="192.0.2.1", first=b""):
        self.rest, self.all, self.lock = b"", [], threading.Lock()
        self.session = Session(tunnel, host, 7300, first, self.got)
        self.session.wait("the gateway opens", lambda: self.session.sid)

    def got(self, data):
        with self.lock:
            self.rest += data
            while len(self.rest) >= 2:
                size = 2 + struct.unpack(">H", self.rest[:2])[0]
                if len(self.rest) < size:
                    break
                self.all.append(self.rest[:size])
                self.rest = self.rest[size:]

    def send(self, data):
        self.session.send(data)

    def wait(self, count):
        self.session.wait(f"{count} frames", lambda: len(self.all) >= count)
        return self.all[:count]

"""Proxies for the network tests: listeners whose connections can be cut, and one for CONNECT."""
import contextlib
import select
import socket
import threading

from adit_test import KIB, PATIENCE


def shuttle(a, b):
    """Bytes both ways until one side is over; half-closes pass."""
    other = {a: b, b: a}
    open_ends = {a, b}
    with contextlib.suppress(OSError):
        while open_ends:
            for end in select.select(list(open_ends), [], [], PATIENCE)[0]:
                data = end.recv(64 * KIB)
                if data:
                    other[end].sendall(data)
                    continue
                open_ends.discard(end)
                other[end].shutdown(socket.SHUT_WR)
    for end in (a, b):
        end.close()


class Listener:
    """Serves each connection in a thread of its own; what is open can be cut."""

    def __init__(self, lab):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.address, self.open, self.asked = self.sock.getsockname(), [], []
        lab.on_exit(self.stop)
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.address[1]}"

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.sock.accept()
                conn.settimeout(PATIENCE)
                self.open.append(conn)
                threading.Thread(target=self.guarded, args=(conn,), daemon=True).start()

    def guarded(self, conn):
        with contextlib.suppress(OSError, ValueError):
            self.serve(conn)

    @staticmethod
    def cut_one(conn):
        with contextlib.suppress(OSError):
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            conn.shutdown(socket.SHUT_RDWR)

    def cut(self):
        for conn in self.open:
            self.cut_one(conn)
        self.open.clear()

    def stop(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.cut()


class Proxy(Listener):
    """CONNECT, with a password if there is one; names are its own business."""

    def __init__(self, lab, authorization=None, names=None):
        self.authorization, self.names = authorization, names or {}
        super().__init__(lab)

    def serve(self, conn):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = conn.recv(1)
            if not piece:
                return
            head += piece
        lines = head.decode().split("\r\n")
        method, target, _ = lines[0].split()
        self.asked.append(target)
        given = [x.split(": ", 1)[1] for x in lines if x.startswith("Proxy-Authorization: ")]
        if self.authorization and given != [self.authorization]:
            conn.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return conn.close()
        if method != "CONNECT":
            conn.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return conn.close()
        address = self.names.get(target) or (target.split(":")[0], int(target.split(":")[1]))
        far = socket.create_connection(address, PATIENCE)
        self.open.append(far)
        conn.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        shuttle(conn, far)

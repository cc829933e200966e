"""The two ends of what is tested: visitors that check every byte, and the local services that they
visit."""

import contextlib
import hashlib
import os
import socket
import ssl
import struct
import threading
import time
import urllib.parse

from basics import *

# --- bytes that can be checked ---

BLOCK = 64 * KIB


def block(seed, index):
    return hashlib.shake_128(f"{seed}/{index}".encode()).digest(BLOCK)


def pattern(seed, size):
    """`size` bytes that differ everywhere and depend on `seed`, in pieces."""
    for index in range((size + BLOCK - 1) // BLOCK):
        yield block(seed, index)[: min(BLOCK, size - index * BLOCK)]


class Checker:
    """Compares what comes with the pattern, and says where it differs."""

    def __init__(self, seed):
        self.seed, self.at, self.expected = seed, 0, b""

    def feed(self, data):
        while data:
            if not self.expected:
                self.expected = block(self.seed, self.at // BLOCK)
            n = min(len(data), len(self.expected))
            if data[:n] != self.expected[:n]:
                wrong = next(i for i in range(n) if data[i] != self.expected[i])
                raise Failed(f"byte {self.at + wrong} of {self.seed} is wrong")
            data, self.expected, self.at = data[n:], self.expected[n:], self.at + n


# --- TLS hellos made by hand ---


def vector(width, data):
    return len(data).to_bytes(width, "big") + data


def extension(number, data):
    return struct.pack(">H", number) + vector(2, data)


def hello(sni=None, alpn=(), padding=0, fragment=1 << 14):
    """A ClientHello that routes as any other; whoever gets it need not speak TLS."""
    extensions = b""
    if sni is not None:
        extensions += extension(0, vector(2, b"\0" + vector(2, sni.encode())))
    if alpn:
        extensions += extension(16, vector(2, b"".join(vector(1, a.encode()) for a in alpn)))
    extensions += extension(43, vector(1, b"\3\4"))
    if padding:
        extensions += extension(21, bytes(padding))
    body = b"\3\3" + os.urandom(32) + vector(1, os.urandom(32)) + vector(2, b"\x13\x01\x13\x02")
    body += vector(1, b"\0") + vector(2, extensions)
    return records(b"\1" + vector(3, body), fragment)


def records(message, fragment=1 << 14):
    pieces = (message[i : i + fragment] for i in range(0, len(message), fragment))
    return b"".join(b"\x16\3\1" + vector(2, piece) for piece in pieces)


def alert_of(data):
    """The description of the fatal alert that `data` is, else None."""
    return data[6] if len(data) == 7 and data[0] == 21 and data[5] == 2 else None


# --- connections ---


class Conn:
    """A stream with a deadline on every wait. `sock`: a socket, an SSLSocket or a TlsPipe."""

    def __init__(self, sock):
        self.sock, self.rest = sock, b""
        sock.settimeout(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.sock.sendall(data)

    def recv(self, size=256 * KIB):
        if self.rest:
            out, self.rest = self.rest[:size], self.rest[size:]
            return out
        return self.sock.recv(size)

    def line(self):
        while b"\n" not in self.rest:
            data = self.sock.recv(64 * KIB)
            if not data:
                raise Failed(f"ended amid a line: {self.rest!r}")
            self.rest += data
        out, self.rest = self.rest.split(b"\n", 1)
        return out.decode(errors="replace").rstrip("\r")

    def exactly(self, size):
        out = bytearray()
        while len(out) < size:
            data = self.recv(min(size - len(out), 256 * KIB))
            if not data:
                raise Failed(f"ended after {len(out)} of {size} bytes")
            out += data
        return bytes(out)

    def to_end(self, limit=64 * MIB):
        out = bytearray()
        while data := self.recv():
            out += data
            check(len(out) <= limit, "too much came")
        return bytes(out)

    def send_pattern(self, seed, size):
        for piece in pattern(seed, size):
            self.send(piece)

    def check_pattern(self, seed, size):
        checker = Checker(seed)
        while checker.at < size:
            data = self.recv(min(size - checker.at, 256 * KIB))
            if not data:
                raise Failed(f"{seed} ended at byte {checker.at} of {size}")
            checker.feed(data)

    def finish(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """RST instead of FIN."""
        raw = self.sock if isinstance(self.sock, socket.socket) else self.sock.sock
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


class TlsPipe:
    """TLS over a socket, with a half-close, and for a thread that reads beside one that writes: an
    SSLSocket has neither."""

    def __init__(self, sock, context, server_name=None, server_side=False):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side,
                                    server_hostname=server_name)
        self.lock = threading.Lock()  # of the SSLObject: one thread reads, another writes
        self.settimeout(PATIENCE)
        self.handshake()

    def settimeout(self, seconds):
        self.sock.settimeout(seconds)

    def flush(self):
        if data := self.outgoing.read():
            self.sock.sendall(data)

    def fill(self):
        data = self.sock.recv(256 * KIB)
        with self.lock:
            self.incoming.write(data) if data else self.incoming.write_eof()

    def handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                return self.flush()
            except ssl.SSLWantReadError:
                self.flush()
                self.fill()

    def sendall(self, data):
        with self.lock:
            self.tls.write(data)
            out = self.outgoing.read()
        self.sock.sendall(out)

    def recv(self, size):
        while True:
            try:
                with self.lock:
                    return self.tls.read(size)
            except ssl.SSLWantReadError:
                self.fill()
            except ssl.SSLZeroReturnError:
                return b""

    def shutdown(self, _):
        with self.lock, contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()  # close_notify; the answer is not waited for
        self.flush()

    def close(self):
        self.sock.close()


def connect(address, source=None, receive_buffer=None):
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE)
    try:
        if source:
            sock.bind((source, 0))
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        sock.close()
        raise
    return sock


def visit(address, name, **options):
    """A visitor of `name` that sends a hello, and then bare bytes."""
    conn = Conn(connect(address, **options))
    conn.send(hello(name))
    return conn


def trusting(alpn=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def visit_tls(address, name, context=None, **options):
    """A visitor of `name` that ends TLS itself."""
    return Conn(TlsPipe(connect(address, **options), context or trusting(), name))


# --- conversations with a Service, one a connection ---


def get(conn, seed, size):
    conn.send(f"get {size} {seed}\n".encode())
    conn.check_pattern(seed, size)


def put(conn, seed, size):
    conn.send(f"put {size} {seed}\n".encode())
    conn.send_pattern(seed, size)
    equal(conn.line(), "ok", f"what the service says of {seed}")


def both(conn, seed, size, pace=None):
    """`size` bytes each way at the same time; `pace(sent)` may wait between two pieces."""
    conn.send(f"both {size} {seed}\n".encode())
    errors = []

    def upload():
        try:
            sent = 0
            for piece in pattern(seed + ".up", size):
                conn.send(piece)
                sent += len(piece)
                if pace:
                    pace(sent)
        except (OSError, Failed) as e:
            errors.append(f"upload of {seed}: {e!r}")

    thread = threading.Thread(target=upload)
    thread.start()
    try:
        conn.check_pattern(seed, size)
        thread.join(PATIENCE)
        check(not thread.is_alive(), f"the upload of {seed} is stuck")
        check(not errors, errors)
        equal(conn.line(), "ok", f"what the service says of {seed}")
    finally:
        if thread.is_alive():
            with contextlib.suppress(OSError):
                (conn.sock if isinstance(conn.sock, socket.socket) else conn.sock.sock).shutdown(2)
            thread.join(PATIENCE)


def echo(conn, text):
    conn.send(b"echo\n" + text)
    equal(conn.exactly(len(text)), text, "echo")


class Service:
    """A local server: a command line a connection, or HTTP. With `takes_hello` a ClientHello comes
    first and is kept; with `tls` (an SSLContext) TLS ends here."""

    def __init__(self, lab, takes_hello=False, tls=None, host="127.0.0.1", port=0, name=""):
        self.takes_hello, self.tls, self.name = takes_hello, tls, name
        self.listener = socket.create_server((host, port), backlog=1024)
        self.host, self.port = self.listener.getsockname()[:2]
        self.address = f"{self.host}:{self.port}"
        self.lock, self.open, self.served = threading.Lock(), set(), 0
        self.ends, self.hellos = [], []  # how connections ended; the hellos they began with
        self.stopping = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()
        lab.on_exit(self.stop)

    def accept(self):
        while not self.stopping.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.run, args=(sock,), daemon=True).start()

    def run(self, sock):
        with self.lock:
            self.open.add(sock)
            self.served += 1
        end = "closed"
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(PATIENCE)
            conn = Conn(TlsPipe(sock, self.tls, server_side=True) if self.tls else sock)
            sock.settimeout(6 * PATIENCE)
            if self.takes_hello:
                self.hellos.append(self.read_hello(conn))
            end = self.serve(conn) or end
        except ConnectionResetError:
            end = "reset"
        except (OSError, Failed, ValueError, AttributeError) as e:
            end = f"error: {e!r}"
        finally:
            with self.lock:
                self.open = {s for s in self.open if s.fileno() not in (-1, sock.fileno())}
                self.ends.append(end)
            sock.close()

    @staticmethod
    def read_hello(conn):
        raw = message = b""
        while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
            head = conn.exactly(5)
            piece = conn.exactly(int.from_bytes(head[3:5], "big"))
            raw, message = raw + head + piece, message + piece
        return raw

    def serve(self, conn):
        words = conn.line().split()
        if not words:
            return None
        if words[0] in ("GET", "POST", "HEAD"):
            return self.http(conn, words)
        return getattr(self, "do_" + words[0])(conn, *words[1:])

    def do_echo(self, conn):
        while data := conn.recv():
            conn.send(data)
        conn.finish()

    def do_get(self, conn, size, seed):
        conn.send_pattern(seed, int(size))
        conn.to_end()

    def do_slowget(self, conn, size, seed, pause_ms):
        for piece in pattern(seed, int(size)):
            conn.send(piece)
            self.stopping.wait(int(pause_ms) / 1000)
        conn.finish()

    def do_put(self, conn, size, seed):
        conn.send((self.verdict(conn, seed, int(size)) + "\n").encode())
        conn.to_end()

    def do_both(self, conn, size, seed):
        verdicts = []
        thread = threading.Thread(
            target=lambda: verdicts.append(self.verdict(conn, seed + ".up", int(size))))
        thread.start()
        conn.send_pattern(seed, int(size))
        thread.join(6 * PATIENCE)
        conn.send(((verdicts or ["the upload is stuck"])[0] + "\n").encode())
        conn.to_end()

    def do_count(self, conn, seed):
        """Reads to the end, then answers: the visitor ends its direction first."""
        checker = Checker(seed)
        while data := conn.recv():
            checker.feed(data)
        conn.send(f"{checker.at} bytes\n".encode())
        conn.send_pattern(seed + ".answer", checker.at)
        conn.finish()

    def do_first(self, conn, size, seed):
        """Ends its direction first, then reads to the end and keeps what came."""
        conn.send_pattern(seed, int(size))
        conn.finish()
        checker = Checker(seed + ".up")
        while data := conn.recv():
            checker.feed(data)
        return f"first {checker.at}"

    def do_hold(self, conn):
        """Never reads again."""
        self.stopping.wait()

    def do_name(self, conn):
        conn.send(f"{self.name}\n".encode())

    @staticmethod
    def verdict(conn, seed, size):
        try:
            conn.check_pattern(seed, size)
            return "ok"
        except Failed as e:
            return str(e)

    def http(self, conn, words):
        while True:
            length, close = 0, words[2] == "HTTP/1.0"
            while line := conn.line():
                key, value = (part.strip().lower() for part in line.split(":", 1))
                if key == "content-length":
                    length = int(value)
                elif key == "connection":
                    close = value == "close"
                elif key == "expect":
                    conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.http_answer(conn, words, length, close)
            if close:
                return conn.finish()
            try:
                words = conn.line().split()
            except Failed:
                return None

    def http_answer(self, conn, words, length, close):
        digest = hashlib.sha256()
        while length:
            data = conn.recv(min(length, 256 * KIB))
            if not data:
                raise Failed("ended amid a request")
            digest.update(data)
            length -= len(data)
        path = urllib.parse.urlsplit(words[1]).path.strip("/").split("/")
        if words[0] == "POST":
            body = [digest.hexdigest().encode()]
        elif path[0] == "pattern":
            body = pattern(path[2], int(path[1]))
        else:
            body = [f"<html><title>adit</title><p id=p>{self.name or 'hello'}</html>\n".encode()]
        size = int(path[1]) if path[0] == "pattern" else len(body[0])
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {size}\r\n"
        conn.send((head + ("Connection: close\r\n" if close else "") + "\r\n").encode())
        if words[0] != "HEAD":
            for piece in body:
                conn.send(piece)

    def stop(self):
        self.stopping.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            socks = list(self.open)
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class Good:
    """A well-behaved visitor that goes on, connection after connection, while others misbehave;
    leaving the block says whether it was served."""

    SIZE = 128 * KIB

    def __init__(self, address, name, slowest=8.0, **options):
        self.address, self.name, self.options, self.slowest = address, name, options, slowest
        self.done, self.worst, self.error, self.stop = 0, 0.0, None, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.is_set() and self.error is None:
            began = time.monotonic()
            try:
                with visit(self.address, self.name, **self.options) as conn:
                    both(conn, f"good{self.done}", self.SIZE)
            except (OSError, Failed) as e:
                self.error = f"after {self.done} transfers: {e!r}"
            self.worst = max(self.worst, time.monotonic() - began)
            self.done += 1
            self.stop.wait(0.01)

    def more(self, count=2):
        """So many further transfers: with what happened just now behind them."""
        wanted = self.done + count + 1  # one is under way
        until("a well-behaved visitor goes on", lambda: self.done >= wanted or self.error)
        check(self.error is None, f"a well-behaved visitor suffered {self.error}")

    def __enter__(self):
        self.thread.start()
        try:
            self.more(1)
        except BaseException:
            self.stop.set()
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.more()
        finally:
            self.stop.set()
            self.thread.join(3 * PATIENCE)
        if kind is None:
            check(self.error is None, f"a well-behaved visitor suffered {self.error}")
            check(self.worst <= self.slowest, f"a well-behaved visitor waited {self.worst:.1f} s")


def in_parallel(count, work, patience=60.0):
    """work(0) … work(count - 1) in threads; the first error, if any."""
    errors = []

    def one(index):
        try:
            work(index)
        except (OSError, Failed) as e:
            errors.append(f"number {index}: {e!r}")

    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(count)]
    end = time.monotonic() + patience
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    stuck = sum(thread.is_alive() for thread in threads)
    check(not errors, f"{len(errors)} of {count} failed; {errors[:3]}")
    check(stuck == 0, f"{stuck} of {count} are stuck")

"""A client of the HTTP tunnel node, as those in the field work: ops of many sessions share batches,
several batches are under way at a time, downloads are put in order by `seq`, uploads carry `wseq`,
bodies may be zstd. Answers can be lost on purpose; the same batch is sent again then.

Only what one of these clients would do is done here: what it must see is checked, not how.
"""

import base64
import collections
import concurrent.futures
import ctypes
import http.client
import json
import random
import threading

from adit_test import PATIENCE, Failed, Skip, check, until

KIB = 1 << 10
OPS_PER_BATCH = 50
UPLOAD_BYTES = 256 * KIB


def encode(data):
    return base64.b64encode(data).decode()


class Zstd:
    """libzstd, which every Debian has for its package manager."""

    def __init__(self):
        try:
            self.lib = ctypes.CDLL("libzstd.so.1")
        except OSError:
            raise Skip("no libzstd.so.1") from None
        for name in ("compressBound", "compress", "decompress", "isError", "getFrameContentSize"):
            getattr(self.lib, "ZSTD_" + name).restype = ctypes.c_size_t
        self.lib.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong

    def compress(self, data):
        room = self.lib.ZSTD_compressBound(ctypes.c_size_t(len(data)))
        out = ctypes.create_string_buffer(room)
        size = self.lib.ZSTD_compress(out, ctypes.c_size_t(room), data,
                                      ctypes.c_size_t(len(data)), 3)
        check(not self.lib.ZSTD_isError(ctypes.c_size_t(size)), "zstd compresses")
        return out.raw[:size]

    def decompress(self, data, most=1 << 26):
        size = self.lib.ZSTD_getFrameContentSize(data, ctypes.c_size_t(len(data)))
        room = size if size <= most else most  # beyond: not known
        out = ctypes.create_string_buffer(max(room, 1))
        size = self.lib.ZSTD_decompress(out, ctypes.c_size_t(room), data,
                                        ctypes.c_size_t(len(data)))
        check(not self.lib.ZSTD_isError(ctypes.c_size_t(size)), "zstd decompresses")
        return out.raw[:size]


class Client:
    """Requests of one key. `lose`: the share of answers to batches of `data` ops that get lost,
    half of them before they are read, half after."""

    def __init__(self, address, key, zstd=False, lose=0.0, seed=1, path=""):
        self.address, self.key, self.path = address, key, path
        self.zstd = Zstd() if zstd else None
        self.offered = False  # the node said that it reads zstd
        self.random, self.lose = random.Random(seed), lose
        self.local = threading.local()
        self.lock = threading.Lock()
        self.lost = self.batches = self.squeezed = 0

    def post(self, path, body, drop=False, **headers):
        """Status, content type and body. A connection that the node has closed is opened again."""
        for again in (True, False):
            connection = getattr(self.local, "connection", None)
            fresh = connection is None
            if fresh:
                connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE * 3)
                self.local.connection = connection
            try:
                connection.request("POST", self.path + path, body,
                                   {"Content-Type": "application/json", **headers})
                if drop:
                    self.forget()
                    return None
                response = connection.getresponse()
                return response.status, response.getheader("Content-Type"), response.read()
            except (ConnectionError, http.client.BadStatusLine):
                self.forget()
                if fresh or not again:
                    raise
        raise Failed("no answer")

    def forget(self):
        self.local.connection.close()
        self.local.connection = None

    def single(self, op, **fields):
        status, kind, body = self.post("/tunnel", json.dumps({"k": self.key, "op": op, **fields}))
        check(status == 200 and kind == "application/json", f"{op}: {status} {kind} {body[:200]}")
        return json.loads(body)

    def body_of(self, ops):
        if self.zstd is None:
            return json.dumps({"k": self.key, "ops": ops})
        if not self.offered:
            return json.dumps({"k": self.key, "ops": ops, "zc": 1})
        packed = self.zstd.compress(json.dumps(ops).encode())
        return json.dumps({"k": self.key, "zops": encode(packed), "zc": 1})

    def results_of(self, body):
        reply = json.loads(body)
        if reply.get("zc"):
            self.offered = True
        if "zr" in reply:
            with self.lock:
                self.squeezed += 1
            return json.loads(self.zstd.decompress(base64.b64decode(reply["zr"], validate=True)))
        return reply["r"]

    def batch(self, ops):
        """One result for each op."""
        body = self.body_of(ops)
        repeatable = all(op["op"] == "data" and "seq" in op for op in ops)
        for _ in range(10):
            with self.lock:
                self.batches += 1
                lose = repeatable and self.random.random() < self.lose
                unread = lose and self.random.random() < 0.5
                self.lost += lose
            answer = self.post("/tunnel/batch", body, drop=unread)
            if not lose:
                status, kind, text = answer
                check(status == 200 and kind == "application/json", f"{status} {kind} {text[:200]}")
                results = self.results_of(text)
                check(len(results) == len(ops), f"{len(results)} results for {len(ops)} ops: "
                                                f"{text[:300]}")
                return results
        raise Failed("ten answers lost in a row")


class Tunnel:
    """Puts ops of sessions into batches; `workers` of them are under way at a time."""

    def __init__(self, lab, client, workers=30, gather=0.01, ops=OPS_PER_BATCH):
        self.client, self.gather, self.workers, self.ops = client, gather, workers, ops
        self.changed = threading.Condition()
        self.pending = collections.deque()
        self.in_flight, self.error, self.closed = 0, None, False
        self.pool = concurrent.futures.ThreadPoolExecutor(workers)
        self.thread = threading.Thread(target=self.dispatch, daemon=True)
        self.thread.start()
        lab.on_exit(self.close)

    def close(self):
        with self.changed:
            self.closed = True
            self.pending.clear()
            self.changed.notify_all()
        self.pool.shutdown(wait=False, cancel_futures=True)

    def submit(self, op, done):
        with self.changed:
            self.pending.append((op, done))
            self.changed.notify_all()

    def dispatch(self):
        while True:
            with self.changed:
                while not self.closed and not (self.pending and self.in_flight < self.workers):
                    self.changed.wait()
                if self.closed:
                    return
                self.changed.wait_for(lambda: self.closed or len(self.pending) >= self.ops,
                                      self.gather)
                size = min(len(self.pending), self.ops)
                batch = [self.pending.popleft() for _ in range(size)]
                if not batch:
                    continue
                self.in_flight += 1
            self.pool.submit(self.run, batch)

    def run(self, batch):
        try:
            results = self.client.batch([op for op, _ in batch])
            for (_, done), result in zip(batch, results):
                done(result)
        except Exception as e:  # shown by whoever waits
            self.error = self.error or e
        with self.changed:
            self.in_flight -= 1
            self.changed.notify_all()

    def check(self):
        if self.error is not None:
            raise Failed(f"{self.error!r}") from self.error


class Session:
    """A connection through the node. `got`: called with bytes in their order."""

    def __init__(self, tunnel, host, port, first=b"", got=None, depth=2):
        self.tunnel, self.got, self.depth = tunnel, got, depth
        self.lock = threading.RLock()
        self.sid = self.failure = None
        self.seq = self.wseq = self.next = self.polls = 0
        self.replies, self.unsent = {}, []
        self.eof, self.received, self.late = False, 0, 0
        op = {"op": "connect_data", "host": host, "port": port}
        if first:
            op["d"] = encode(first)
        tunnel.submit(op, self.on_opened)

    def on_opened(self, result):
        with self.lock:
            if "e" in result:
                self.failure = result["e"]
                return
            self.sid = result["sid"]
            self.take(result)
            for data in self.unsent:
                self.send(data)
            self.fill()

    def send(self, data):
        with self.lock:
            if self.sid is None:
                self.unsent.append(data)
                return
            for at in range(0, len(data), UPLOAD_BYTES):
                self.op(d=encode(data[at:at + UPLOAD_BYTES]), wseq=self.wseq)
                self.wseq += 1

    def op(self, **fields):
        number = self.seq
        self.seq += 1
        self.polls += 1
        self.tunnel.submit({"op": "data", "sid": self.sid, "seq": number, **fields},
                           lambda result: self.on_reply(number, result))

    def fill(self):
        while self.polls < self.depth and not self.eof and self.failure is None:
            self.op()

    def on_reply(self, number, result):
        with self.lock:
            self.polls -= 1
            if "e" in result:
                self.failure = result["e"]
                return
            check(result.get("sid") == self.sid, f"the answer is another session's: {result}")
            check(result.get("seq") == number, f"{result} answers {number}")
            self.replies[number] = result
            self.late += number != self.next
            while self.next in self.replies:
                self.take(self.replies.pop(self.next))
                self.next += 1
            self.fill()

    def take(self, result):
        if "d" in result:
            check(not self.eof, "bytes after the end")
            data = base64.b64decode(result["d"], validate=True)
            check(data, "an empty d")
            self.received += len(data)
            if self.got is not None:
                self.got(data)
        self.eof = self.eof or result.get("eof", False)

    def close(self):
        self.tunnel.submit({"op": "close", "sid": self.sid}, lambda _: None)

    def wait(self, what, condition, patience=None):
        def look():
            self.tunnel.check()
            check(self.failure is None, f"{what}: {self.failure}")
            return condition()

        until(what, look, patience)

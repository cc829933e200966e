"""For the tests of continuity: visitors that never stop moving checked bytes, and a path for the
link's datagrams that can be spoilt."""

import random
import selectors

from adit_test import *


class Mover:
    """One visitor whose bytes come back from the service: a byte lost, doubled or changed in either
    direction shows."""

    def __init__(self, address, name, seed, pause=0.02):
        self.conn = visit(address, name)
        self.conn.send(b"echo\n")
        self.conn.sock.settimeout(90)
        self.seed, self.pause = seed, pause
        self.sent, self.checker, self.errors = 0, Checker(seed), []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.guard, args=(f,), daemon=True)
                        for f in (self.send, self.receive)]
        for thread in self.threads:
            thread.start()

    def guard(self, work):
        try:
            work()
        except (OSError, Failed) as e:
            self.errors.append(f"{work.__name__} of {self.seed} at {self.checker.at}: {e!r}")

    def send(self):
        index = 0
        while not self.stopping.is_set():
            self.conn.send(block(self.seed, index))
            index += 1
            self.sent = index * BLOCK
            self.stopping.wait(self.pause)
        self.conn.finish()

    def receive(self):
        while data := self.conn.recv():
            self.checker.feed(data)

    def end(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(2 * PATIENCE)
        stuck = any(t.is_alive() for t in self.threads)
        self.conn.close()
        check(not self.errors, self.errors)
        check(not stuck, f"{self.seed} is stuck at {self.checker.at} of {self.sent}")
        equal(self.checker.at, self.sent, f"bytes that came back to {self.seed}")


class Movers:
    def __init__(self, address, name, count=6):
        self.all = [Mover(address, name, f"mover{i}") for i in range(count)]

    def __enter__(self):
        return self

    def flow(self, size=4 * BLOCK, patience=None):
        """Until each has moved so much more."""
        for mover in self.all:
            wanted = mover.checker.at + size
            until(f"{mover.seed} goes on", lambda m=mover, w=wanted: m.checker.at >= w or m.errors,
                  patience)
            check(not mover.errors, mover.errors)

    def __exit__(self, kind, *_):
        errors = []
        for mover in self.all:
            try:
                mover.stopping.set()
                if kind is None:
                    mover.end()
            except Failed as e:
                errors.append(e)
            finally:
                mover.conn.close()
        if kind is None:
            check(not errors, errors)


class Path:
    """Forwards datagrams between one agent and a relay, as well as it is told to."""

    def __init__(self, lab, relay):
        self.relay, self.port = relay, lab.free_port()
        self.lock = threading.Lock()
        self.near, self.far = self.socket(self.port), self.socket(0)
        self.blocked, self.loss, self.disorder, self.doubled = False, 0.0, 0.0, 0.0
        self.agent, self.held, self.random = None, [], random.Random(1)
        self.forwarded = 0
        self.stopping = threading.Event()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.near, selectors.EVENT_READ, True)
        self.selector.register(self.far, selectors.EVENT_READ, False)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        lab.on_exit(self.stop)

    @staticmethod
    def socket(port):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MIB)
        sock.bind(("127.0.0.1", port))
        sock.setblocking(False)
        return sock

    def as_relay(self):
        """For the agent's configuration."""
        return {"address": f"127.0.0.1:{self.port}", "name": DOMAIN}

    def rebind(self):
        """What a NAT does that forgot us: the relay sees another port from now on."""
        with self.lock:
            self.selector.unregister(self.far)
            self.far.close()
            self.far = self.socket(0)
            self.selector.register(self.far, selectors.EVENT_READ, False)

    def run(self):
        while not self.stopping.is_set():
            for key, _ in self.selector.select(0.1):
                with self.lock:
                    self.take(key.data)

    def take(self, from_agent):
        for _ in range(64):
            try:
                data, source = (self.near if from_agent else self.far).recvfrom(65536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if from_agent:
                self.agent = source
            if not self.blocked and self.agent is not None:
                self.spoil(from_agent, data)

    def spoil(self, from_agent, data):
        if self.random.random() < self.loss:
            return
        if self.random.random() < self.disorder:
            self.held.append((from_agent, data))
            return
        self.forward(from_agent, data)
        if self.random.random() < self.doubled:
            self.forward(from_agent, data)
        if self.held and self.random.random() < 0.3:
            self.forward(*self.held.pop(0))

    def forward(self, from_agent, data):
        self.forwarded += 1
        with contextlib.suppress(OSError):
            if from_agent:
                self.far.sendto(data, self.relay.address)
            else:
                self.near.sendto(data, self.agent)

    def stop(self):
        self.stopping.set()
        self.thread.join(PATIENCE)
        self.near.close()
        self.far.close()


def spoilt(lab, **settings):
    """A relay, the path to it, an agent behind that, and movers that visit the agent."""
    service = Service(lab, takes_hello=True)
    relay = Relay(lab, **settings)
    path = Path(lab, relay)
    agent = Agent(lab, [path.as_relay()], [{"to": service.address, "mode": "passthrough"}])
    return relay, path, agent, Movers(relay.address, agent.host_name)


def hold_for(seconds):
    """A disturbance of a given length: the one thing that is not an event."""
    threading.Event().wait(seconds)


def unharmed(relay, agent):
    """What everybody may rely on when it is over."""
    equal(relay.events("tunnel.session_expired"), [], "sessions that expired")
    equal(relay.events("tunnel.protocol_error"), [], "protocol errors")
    equal(agent.events("agent.session_lost"), [], "sessions lost")
    equal(len(relay.events("tunnel.session_up")), 1, "sessions")

"""Whether one agent's bulk makes another agent's visitors wait at the relay: 4 ping-pongs through
one agent, alone and beside 4 downloads, as fast as they go, through another agent. The relay has
one thread and the proxy's core for itself. All else is on the load's core, and what belongs to the
bulk (agent, server, client) is in the idle scheduling class there: it gives way to the ping-pongs
and their agent, so that what makes these wait is the relay, or the kernel on its core."""

import os

from . import link, load, proc

CARRIERS = {"quic": "QUIC", "h2": "HTTP/2 over TLS"}
CONNECTIONS = 4


class Pair:
    """A relay and its two agents by one carrier."""
    measures = ("fair",)

    def __init__(self, binary, carrier, upstream, cores, folder):
        self.name, self.label = f"fair-{carrier}", f"adit by {CARRIERS[carrier]}"
        self.children = []
        folder = os.path.join(folder, self.name)
        self.address = f"127.0.0.1:{link.port_of_both()}"
        for part in ("relay", "echo", "mixed"):
            os.makedirs(os.path.join(folder, part), mode=0o700)
        keys = {kind: link.new_key(folder, kind + ".pem") for kind in ("echo", "mixed")}
        allowed = "".join(f"{link.agent_id(key)} names={load.sni(kind)}\n"
                          for kind, key in keys.items())
        config = (f'domain = ["relay.test"]\nlisten = ["{self.address}"]\n'
                  f'state_dir = "{folder}/relay"\nthreads = 1\nio_backend = "uring"\n'
                  f'authorized_agents = "{link.write(folder, "allowed", allowed)}"\n'
                  '[log]\nlevel = "warn"\n')
        self._start([binary, "relay", "-c", link.write(folder, "relay.toml", config)],
                    cores.proxy, folder, "relay")
        for kind, key in keys.items():
            config = (f'state_dir = "{folder}/{kind}"\nkey = "{key}"\ncarrier = "{carrier}"\n'
                      '[log]\nlevel = "warn"\n'
                      f'[[relay]]\naddress = "{self.address}"\nname = "relay.test"\n'
                      f'[[service]]\nmode = "passthrough"\nname = ["{load.sni(kind)}"]\n'
                      f'to = "{upstream[kind]}"\n')
            self._start([binary, "agent", "-c", link.write(folder, kind + ".toml", config)],
                        cores.load, folder, kind)
        os.sched_setscheduler(self.children[-1].pid, os.SCHED_IDLE, os.sched_param(0))

    def _start(self, argv, core, folder, name):
        self.children.append(proc.Child(argv, core, os.path.join(folder, name + ".log"),
                                        cwd=folder))

    def wait(self, client):
        def ready():
            got = client.run("pingpong", self.address, "echo", seconds=0.1, connections=1)
            bulk = client.run("bulk", self.address, "mixed", bytes=1 << 20, verify=True, seconds=5)
            return got["messages"] and not got["failed"] and not bulk["failed"]
        proc.wait_until(ready, 20, self.name, self.children[0])

    def stop(self):
        for child in reversed(self.children):
            child.stop()


def sample(client, pair, seconds):
    options = {"seconds": seconds, "connections": CONNECTIONS, "pause": 0.001,
               "warm_up": seconds / 5}
    alone = client.run("pingpong", pair.address, "echo", **options)
    before = pair.children[0].cpu()
    beside = client.run("mixed", pair.address, "echo", bulk_sni=load.sni("mixed"),
                        bulk_to=pair.address, bulk_connections=4, **options)
    bulk = beside["bulk"]
    return {"p99_alone_us": alone["p99_us"], "p99_us": beside["p99_us"],
            "p50_alone_us": alone["p50_us"], "p50_us": beside["p50_us"],
            "p99_ratio": beside["p99_us"] / alone["p99_us"],
            "bulk_gb_per_s": bulk["bytes"] / 1e9 / bulk["seconds"],
            "cpu_share": (pair.children[0].cpu() - before) / beside["seconds"],
            "failed": alone["failed"] + beside["failed"] + bulk["failed"]}


MEASURES = {"fair": sample}


class Bench:
    def __init__(self, binary, load_binary, cores, folder, seconds):
        self.binary, self.cores, self.folder, self.seconds = binary, cores, folder, seconds
        self.client = load.Client(load_binary, cores.load)
        self.servers = load.Servers(load_binary, cores.load, folder, 1)
        self.pairs, self.problems = [], {}

    def start(self):
        for carrier in CARRIERS:
            try:
                self.pairs.append(Pair(self.binary, carrier, self.servers.upstreams[0], self.cores,
                                       self.folder))
                self.pairs[-1].wait(self.client)
            except proc.BenchError as e:
                self.problems[f"fair {carrier}"] = str(e)
        return self.pairs

    def sample(self, _, pair):
        return sample(self.client, pair, self.seconds)

    def stop(self):
        for pair in self.pairs:
            pair.stop()
        self.servers.stop()

"""The targets of the data path: ratios against peers within one run."""

import dataclasses
import typing

OURS = "adit-uring"
OTHER = "adit-epoll"


@dataclasses.dataclass
class Target:
    measure: str
    metric: str
    op: str  # "<=" or ">="
    factor: float
    peers: typing.Tuple[str, ...]  # the best of these counts; () = the figure itself
    text: str
    ours: str = ""  # a row that stands for itself, whichever back end is asked for


BULK = "CPU seconds per GB"
# Splicing always is best for bulk and worst for small messages: whichever is harder to beat counts.
SPLICE_1M = ("haproxy-auto-1m", "haproxy-splice-1m")
EVERY_PEER = ("haproxy", "haproxy-auto", *SPLICE_1M, "nginx", "sslh", "sniproxy")
TARGETS = [
    *[Target(m, "cpu_s_per_gb", "<=", f, peer, BULK)
      for m in ("bulk1", "bulk8")
      for peer, f in ((SPLICE_1M, 1.0), (("haproxy",), 0.35), (("nginx",), 0.35))],
    *[Target(m, "gb_per_s", ">=", 1.0, EVERY_PEER, "wall throughput") for m in ("bulk1", "bulk8")],
    *[Target("short", "per_cpu_s", ">=", 1.2, (peer,), "connections per CPU second")
      for peer in ("haproxy", "nginx", "sniproxy")],
    Target("pingpong", "cpu_us", "<=", 0.75, ("haproxy",), "CPU per message"),
    Target("pingpong", "p99_us", "<=", 1.0, ("haproxy",), "p99 latency"),
    *[Target("mixed", m, "<=", f, peer, f"{m[:3]} latency of the ping-pongs")
      for peer, f in ((("haproxy",), 0.1), (SPLICE_1M, 0.5)) for m in ("p50_us", "p99_us")],
    Target("idle", "user_kib", "<=", 1.0, (), "user KiB per idle connection"),
    Target("link-bulk", "cpu_s_per_gb", "<=", 0.5, ("ssh",), BULK + ", both ends together"),
    Target("fair", "p99_ratio", "<=", 2.0, (), "p99 beside another agent's bulk, QUIC",
           "fair-quic"),
    Target("fair", "p99_ratio", "<=", 2.0, (), "p99 beside another agent's bulk, HTTP/2",
           "fair-h2"),
    Target("link-streams", "per_s", ">=", 5.0, ("ssh",), "streams per second"),
]


def _value(medians, measure, name, metric):
    return medians.get(measure, {}).get(name, {}).get(metric)


def _best(medians, target):
    """(name, figure) of the peer that is hardest to beat; (None, None) when none was measured."""
    rows = {name: _value(medians, target.measure, name, target.metric) for name in target.peers}
    rows = {name: value for name, value in rows.items() if value}
    if not rows:
        return None, None
    name = (max if target.op == ">=" else min)(rows, key=rows.get)
    return name, rows[name]


def evaluate(medians, ours=OURS):
    """A row for every target whose measure was run: what was reached, and whether that is enough.
    Ratios are compared as they are printed, with two decimals."""
    rows = []
    for t in TARGETS:
        if t.measure not in medians:
            continue
        mine = _value(medians, t.measure, t.ours or ours, t.metric)
        peer, theirs = _best(medians, t)
        reached = None
        if mine is not None and not t.peers:
            reached = mine
        elif mine is not None and theirs:
            reached = mine / theirs
        met = None
        if reached is not None:
            shown = round(reached, 2)
            met = shown <= t.factor if t.op == "<=" else shown >= t.factor
        rows.append({"measure": t.measure, "metric": t.metric, "text": t.text, "peer": peer,
                     "op": t.op, "limit": t.factor, "ours": mine, "theirs": theirs,
                     "reached": reached, "met": met})
    return rows

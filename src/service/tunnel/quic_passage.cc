#include "service/tunnel/quic_passage.h"

#include <algorithm>
#include <utility>

namespace adit::service {

namespace {

// Shorter ids are not looked for: whoever chose one could be the destination of others' packets,
// which begin with the same bytes by chance.
constexpr std::size_t kIdBytesMin = 8;

using quic_initial::InitialReader;
using quic_initial::LongHeader;
using quic_initial::parse_long_header;

// A server changes its id once, at its first packet, or twice with a Retry; what a peer sees beyond
// that is encrypted.
constexpr std::size_t kIdsPerFlowMax = 8;
// Of a client that a NAT moves again and again: what it left within ClientPlace::kSettled has to be
// among them.
constexpr std::size_t kAddressesPerFlowMax = 64;

}  // namespace

QuicPassage::Entry::Entry(QuicPassage& o) : owner(o) {}

void QuicPassage::Entry::on_answer(link::FlowNumber, const link::FlowOpen&, Bytes payload) {
  owner.answer(*this, payload);
}

void QuicPassage::Entry::on_flow_over(link::FlowNumber, const link::FlowOpen&) {
  flows = nullptr;
  owner.unpin(*this);  // destroys this
}

void QuicPassage::Entry::on_server_datagram(Bytes payload) {
  owner.touch(*this);
  owner.answer(*this, payload);
}

void QuicPassage::Entry::on_server_failed(const Error&) {
  owner.dropped_.add();
  owner.unpin(*this);  // destroys this
}

QuicPassage::QuicPassage(const Context& context, Send send, Ours ours)
    : context_(context),
      loop_(context.loop),
      send_(send),
      ours_(ours),
      timer_(context.loop, Delegate<void()>::to<&QuicPassage::on_timer>(this)),
      hellos_(context.metrics.counter("adit_quic_hellos_total")),
      passed_(context.metrics.counter("adit_quic_flows_total")),
      rebound_(context.metrics.counter("adit_quic_rebound_total")),
      malformed_(context.metrics.counter("adit_quic_hellos_refused_total",
                                         "reason=\"malformed\"")),
      timed_out_(context.metrics.counter("adit_quic_hellos_refused_total",
                                         "reason=\"incomplete\"")),
      dropped_(context.metrics.counter("adit_quic_datagrams_dropped_total")) {}

QuicPassage::~QuicPassage() {
  while (!entries_.empty()) unpin(*entries_.begin()->second);
}

bool QuicPassage::active() const {
  return !entries_.empty() || context_.table.agents.quic_names() > 0 ||
         context_.table.routes.any_udp();
}

// --- datagrams -----------------------------------------------------------------------------------

bool QuicPassage::take(const quic::Path& path, std::uint8_t ecn, Bytes datagram, bool stray) {
  const auto header = parse_long_header(datagram);
  if (Entry* entry = find(path.peer, header, datagram)) {
    pass(*entry, path, ecn, datagram, stray);
    return true;
  }
  if (!header || header->dcid.size() > quic::ConnectionId().bytes.size()) return false;
  return assemble(path, ecn, datagram, *header, stray);
}

// By connection id first: one address may have several connections, and one connection several
// addresses.
QuicPassage::Entry* QuicPassage::find(const Address& visitor,
                                      const std::optional<LongHeader>& header, Bytes datagram) {
  if (header) {
    const auto known = by_id_.find(quic::ConnectionId::of(header->dcid));
    if (known != by_id_.end()) return known->second;
    // A connection of its own, whatever else is open at that address. A first Initial has an id of
    // at least this length (RFC 9000 §7.2); a later one may have a server's shorter one.
    if (header->initial && header->dcid.size() >= kIdBytesMin) return nullptr;
  } else if (!datagram.empty()) {
    for (std::size_t length = kIdBytesMin; length < ids_of_length_.size(); ++length) {
      if (ids_of_length_[length] == 0 || datagram.size() <= length) continue;
      const auto known = by_id_.find(quic::ConnectionId::of(datagram.subspan(1, length)));
      if (known != by_id_.end()) return known->second;
    }
  }
  const auto pinned = by_address_.find(visitor);
  // While a hello waits at the address its further packets are for that.
  if (pinned == by_address_.end() ||
      (header && assemblies_.contains({visitor, quic::ConnectionId::of(header->dcid)})))
    return nullptr;
  return pinned->second;
}

void QuicPassage::pass(Entry& entry, const quic::Path& path, std::uint8_t ecn, Bytes datagram,
                       bool stray) {
  touch(entry);
  if (entry.thread) {
    if (stray) return dropped_.add();  // it has been on its way long enough
    return context_.fabric.pass_on(
        *entry.thread, StrayDatagram{context_.port, path.peer, path.local, ecn, 0,
                                     ByteVector(datagram.begin(), datagram.end())});
  }
  // Only an established connection moves, by what nobody could write who has not seen its packets:
  // a long header's id is the client's own choice, or has just been shown to it in the clear.
  const bool is_short = !datagram.empty() && (datagram[0] & 0x80) == 0;
  const bool known = std::ranges::find(entry.addresses, path.peer) != entry.addresses.end();
  if (entry.client.hear(path.peer, known, is_short, loop_.now())) {
    rebound_.add();
    pin_address(entry, path.peer);
  }
  if (entry.client.at() == path.peer) entry.local = path.local;
  if (entry.flows != nullptr) return entry.flows->send(entry.flow, datagram);
  entry.upstream->send(datagram);
}

// What comes back: to where the client was last heard from. The ids that the server chose show in
// long headers only (RFC 9000 §17.2), which are over before a NAT can have forgotten anything.
void QuicPassage::answer(Entry& entry, Bytes payload) {
  if (const auto header = parse_long_header(payload);
      header && !header->scid.empty() && header->scid.size() <= 20) {
    const quic::ConnectionId id = quic::ConnectionId::of(header->scid);
    if (!by_id_.contains(id) && entry.ids.size() < kIdsPerFlowMax) {
      pin_id(entry, id);
      context_.fabric.share_id(context_.port, id);
    }
  }
  send_(entry.client.at(), entry.local, payload);
  if (const auto also = entry.client.also(loop_.now())) send_(*also, entry.local, payload);
}

// --- hellos --------------------------------------------------------------------------------------

bool QuicPassage::assemble(const quic::Path& path, std::uint8_t ecn, Bytes datagram,
                           const LongHeader& header, bool stray) {
  const AssemblyKey key{path.peer, quic::ConnectionId::of(header.dcid)};
  auto found = assemblies_.find(key);
  if (found == assemblies_.end()) {
    if (!header.initial || header.dcid.size() < kIdBytesMin) return false;
    auto fresh = std::make_unique<Assembly>();
    fresh->path = path;
    fresh->dcid = key.second;
    auto read = fresh->reader.feed(datagram);
    // What is no QUIC for anybody gets what it always got.
    if (!read) {
      malformed_.add();
      return false;
    }
    // The usual case of an agent's link: nothing was kept of it.
    std::optional<Way> way;
    const bool whole = *read == InitialReader::Need::Done;
    if (whole) way = wanted(*fresh);
    if (whole && !way) return false;
    if (assemblies_.size() >= limits::kHelloAssembliesMax) {
      timed_out_.add();
      drop(*by_age_.front());
    }
    fresh->since = loop_.now();
    by_age_.push_back(*fresh);
    found = assemblies_.emplace(key, std::move(fresh)).first;
    found->second->datagrams.emplace_back(ecn, ByteVector(datagram.begin(), datagram.end()));
    if (!timer_.armed()) timer_.set(loop_.now() + limits::kHelloAssemblyDeadline);
    if (whole) go_on(*found->second, way, stray);
    return true;
  }
  Assembly& assembly = *found->second;
  auto read = assembly.reader.feed(datagram);
  if (!read) {
    malformed_.add();
    drop(assembly);
    return true;
  }
  assembly.datagrams.emplace_back(ecn, ByteVector(datagram.begin(), datagram.end()));
  if (*read == InitialReader::Need::Done) go_on(assembly, wanted(assembly), stray);
  return true;
}

// Whom the hello is for, where that is somebody behind this relay.
std::optional<QuicPassage::Way> QuicPassage::wanted(const Assembly& assembly) {
  const ClientHello& hello = assembly.reader.hello();
  hellos_.add();
  const std::vector<std::string_view> alpn(hello.alpn.begin(), hello.alpn.end());
  route::RouteQuery query;
  query.transport = route::Transport::Udp;
  query.local_port = assembly.path.local.port;
  if (!hello.sni.empty()) query.sni = hello.sni;
  query.alpn = alpn;
  query.source = assembly.path.peer.ip;
  const route::Destination to = route::decide(context_.table, query);
  Way way;
  if (const auto* agent = std::get_if<route::AgentName>(&to)) {
    const route::NameOwner* owner = context_.table.agents.owner_of(agent->key);
    if (owner == nullptr || !owner->quic) return std::nullopt;
    way.owner = *owner;
    return way;
  }
  if (const auto* fixed = std::get_if<route::StaticRoute>(&to)) {
    if (fixed->index >= context_.upstreams.size()) return std::nullopt;
    way.upstream = context_.upstreams[fixed->index];
    if (way.upstream) return way;
  }
  return std::nullopt;
}

void QuicPassage::go_on(Assembly& assembly, const std::optional<Way>& way, bool stray) {
  Entry* entry = way ? open(assembly, *way, stray) : nullptr;
  const quic::Path path = assembly.path;
  const auto datagrams = std::move(assembly.datagrams);
  drop(assembly);
  for (const auto& [ecn, datagram] : datagrams) {
    if (entry != nullptr) {
      pass(*entry, path, ecn, datagram, stray);
    } else if (!way) {
      ours_(path, ecn, datagram);
    } else {
      dropped_.add();
    }
  }
}

QuicPassage::Entry* QuicPassage::open(const Assembly& assembly, const Way& way, bool stray) {
  if (entries_.size() >= limits::kPassedFlowsMax) return nullptr;
  auto entry = std::make_unique<Entry>(*this);
  const Address visitor = assembly.path.peer;
  entry->client = ClientPlace(visitor);
  entry->local = assembly.path.local;
  if (way.upstream) {
    entry->upstream.emplace(loop_, context_.resolver, *way.upstream, dropped_,
                            static_cast<UdpClientListener&>(*entry));
  } else if (way.owner.thread != context_.fabric.index()) {
    if (stray) return nullptr;
    entry->thread = way.owner.thread;
  } else {
    RelayFlows* flows = context_.tunnel.visits().flows_for(way.owner.session, visitor);
    if (flows == nullptr) return nullptr;
    const auto number = flows->open(link::FlowOpen{way.owner.service, visitor, entry->local,
                                                   assembly.reader.hello().sni},
                                    static_cast<FlowSink&>(*entry));
    if (!number) return nullptr;
    entry->flows = flows;
    entry->flow = *number;
  }
  passed_.add();
  Entry& pinned = pin(std::move(entry));
  pin_address(pinned, visitor);
  if (assembly.dcid.length > 0) pin_id(pinned, assembly.dcid);
  return &pinned;
}

void QuicPassage::drop(Assembly& assembly) {
  assemblies_.erase(AssemblyKey{assembly.path.peer, assembly.dcid});
}

// --- what is pinned ------------------------------------------------------------------------------

QuicPassage::Entry& QuicPassage::pin(std::unique_ptr<Entry> entry) {
  Entry& out = *entry;
  entries_.emplace(&out, std::move(entry));
  touch(out);
  return out;
}

void QuicPassage::pin_address(Entry& entry, const Address& visitor) {
  Entry*& at = by_address_[visitor];
  if (at != nullptr) std::erase(at->addresses, visitor);
  at = &entry;
  entry.addresses.push_back(visitor);  // also where it was known: the oldest are forgotten
  if (entry.addresses.size() <= kAddressesPerFlowMax) return;
  by_address_.erase(entry.addresses.front());
  entry.addresses.erase(entry.addresses.begin());
}

void QuicPassage::pin_id(Entry& entry, const quic::ConnectionId& id) {
  if (id.length < kIdBytesMin) return;
  if (by_id_.size() >= limits::kPassedIdsMax || !by_id_.emplace(id, &entry).second) return;
  ++ids_of_length_[id.length];
  entry.ids.push_back(id);
}

void QuicPassage::learn(const quic::ConnectionId& id, std::uint32_t thread) {
  if (const auto known = by_id_.find(id); known != by_id_.end()) return touch(*known->second);
  if (entries_.size() >= limits::kPassedFlowsMax) return dropped_.add();
  auto entry = std::make_unique<Entry>(*this);
  entry->thread = thread;
  pin_id(pin(std::move(entry)), id);
}

// The quietest in front. A flow of a session is over when the session says so.
void QuicPassage::touch(Entry& entry) {
  entry.active = loop_.now();
  if (entry.flows != nullptr) return;
  entry.unlink();
  by_activity_.push_back(entry);
  if (!timer_.armed()) timer_.set(entry.active + limits::kFlowIdle);
}

void QuicPassage::unpin(Entry& entry) {
  for (const Address& a : entry.addresses) by_address_.erase(a);
  for (const quic::ConnectionId& id : entry.ids) {
    by_id_.erase(id);
    --ids_of_length_[id.length];
  }
  if (RelayFlows* flows = std::exchange(entry.flows, nullptr)) flows->close(entry.flow);
  entries_.erase(&entry);
}

void QuicPassage::on_timer() {
  Instant next = Instant::never();
  while (Assembly* oldest = by_age_.front()) {
    const Instant due = oldest->since + limits::kHelloAssemblyDeadline;
    if (due > loop_.now()) {
      next = due;
      break;
    }
    timed_out_.add();
    drop(*oldest);
  }
  while (Entry* quietest = by_activity_.front()) {
    const Instant due = quietest->active + limits::kFlowIdle;
    if (due > loop_.now()) {
      next = std::min(next, due);
      break;
    }
    unpin(*quietest);
  }
  timer_.set(next);
}

}  // namespace adit::service

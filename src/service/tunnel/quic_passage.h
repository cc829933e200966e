// QUIC that is passed through, still encrypted, on one UDP port of one thread: to agents whose
// names want it and to static upstreams, by the SNI of the ClientHello. The client's first
// datagrams wait here until the hello is whole, and go on in their order. From there its datagrams
// are known by its address, and by connection ids: the client's first choice, and the server's,
// which is seen in the long headers that come back and so has a known length; so a client that a
// NAT has given a new port goes on.
//
// The flow lives on the thread of the agent's session. Other threads know what to hand over there.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/list.h"
#include "base/metrics.h"
#include "base/limits.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "proto/quic/connection.h"
#include "proto/quic/connection_id.h"
#include "proto/quic_initial/initial_reader.h"
#include "route/router.h"
#include "service/tunnel/client_place.h"
#include "service/tunnel/fabric.h"
#include "service/tunnel/relay_flows.h"
#include "service/tunnel/tunnel.h"
#include "service/tunnel/udp_client.h"

namespace adit::service {

class QuicPassage {
 public:
  // Sends what comes back: from `local` to `peer`.
  using Send = Delegate<void(const Address& peer, const Address& local, Bytes datagram)>;
  // A datagram that waited here and is for the relay itself, after all.
  using Ours = Delegate<void(const quic::Path& path, std::uint8_t ecn, Bytes datagram)>;
  // All of it outlives the passage, but the tunnel, whose sessions end before it.
  struct Context {
    io::Loop& loop;
    io::Resolver& resolver;
    std::size_t port;  // index of the UDP port, the same on every thread
    const route::RouterTable& table;
    const std::vector<std::optional<HostPort>>& upstreams;  // of the static routes
    Tunnel& tunnel;
    Fabric& fabric;
    Metrics& metrics;
  };

  QuicPassage(const Context& context, Send send, Ours ours);
  ~QuicPassage();

  // Whether any name wants QUIC: where none does nothing is looked at.
  bool active() const;
  // False: not for somebody else; the relay's own rules apply. True: taken, whatever became of it.
  // `stray`: passed on by another thread; it is not passed on again.
  bool take(const quic::Path& path, std::uint8_t ecn, Bytes datagram, bool stray);
  // Another thread has a flow whose server chose this id.
  void learn(const quic::ConnectionId& id, std::uint32_t thread);

  std::size_t size() const { return entries_.size(); }

 private:
  // What is pinned: a flow of a session here, a server that a static route names, or what is handed
  // over to another thread.
  struct Entry final : ListNode<Entry>, FlowSink, UdpClientListener {
    explicit Entry(QuicPassage& o);
    void on_answer(link::FlowNumber flow, const link::FlowOpen& open, Bytes payload) override;
    void on_flow_over(link::FlowNumber flow, const link::FlowOpen& open) override;
    void on_server_datagram(Bytes payload) override;
    void on_server_failed(const Error& why) override;
    void on_server_unreachable(const Error&) override { owner.dropped_.add(); }

    QuicPassage& owner;
    std::optional<std::uint32_t> thread;
    RelayFlows* flows = nullptr;
    link::FlowNumber flow;
    std::optional<UdpClient> upstream;
    ClientPlace client;
    Address local;  // as of the last datagram
    std::vector<Address> addresses;
    std::vector<quic::ConnectionId> ids;
    Instant active;
  };
  // A client whose hello is not whole yet.
  struct Assembly final : ListNode<Assembly> {
    quic::Path path;
    quic::ConnectionId dcid;
    quic_initial::InitialReader reader;
    std::vector<std::pair<std::uint8_t, ByteVector>> datagrams;  // with their ECN bits
    Instant since;
  };
  using AssemblyKey = std::pair<Address, quic::ConnectionId>;
  struct Way {
    route::NameOwner owner;            // where there is no
    std::optional<HostPort> upstream;
  };

  Entry* find(const Address& visitor, const std::optional<quic_initial::LongHeader>& header,
              Bytes datagram);
  void pass(Entry& entry, const quic::Path& path, std::uint8_t ecn, Bytes datagram, bool stray);
  void answer(Entry& entry, Bytes payload);
  bool assemble(const quic::Path& path, std::uint8_t ecn, Bytes datagram,
                const quic_initial::LongHeader& header, bool stray);
  std::optional<Way> wanted(const Assembly& assembly);
  void go_on(Assembly& assembly, const std::optional<Way>& way, bool stray);
  Entry* open(const Assembly& assembly, const Way& way, bool stray);
  Entry& pin(std::unique_ptr<Entry> entry);
  void pin_address(Entry& entry, const Address& visitor);
  void pin_id(Entry& entry, const quic::ConnectionId& id);
  void touch(Entry& entry);
  void unpin(Entry& entry);
  void drop(Assembly& assembly);
  void on_timer();

  const Context context_;
  io::Loop& loop_;
  Send send_;
  Ours ours_;
  std::map<AssemblyKey, std::unique_ptr<Assembly>> assemblies_;
  List<Assembly, Assembly> by_age_;
  std::map<const Entry*, std::unique_ptr<Entry>> entries_;
  List<Entry, Entry> by_activity_;  // without flows of sessions
  std::unordered_map<Address, Entry*, AddressHash> by_address_;
  std::unordered_map<quic::ConnectionId, Entry*, quic::ConnectionIdHash> by_id_;
  std::array<std::size_t, 21> ids_of_length_{};
  io::Timer timer_;
  Counter &hellos_, &passed_, &rebound_, &malformed_, &timed_out_, &dropped_;
};

}  // namespace adit::service

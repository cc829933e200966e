// One UDP port of the relay on one thread: sorts datagrams to links, accepts new ones, answers what
// needs no state, and passes on what belongs to another thread.
#pragma once

#include <memory>
#include <unordered_map>

#include "base/metrics.h"
#include "crypto/tls_context.h"
#include "flow/quic_link.h"
#include "io/loop.h"
#include "proto/quic/endpoint.h"
#include "service/tunnel/fabric.h"
#include "service/tunnel/quic_passage.h"
#include "service/tunnel/tunnel.h"

namespace adit::service {

class LinkPort final : public flow::DatagramPort {
 public:
  // What passing QUIC through goes by; see QuicPassage::Context.
  struct Passing {
    io::Resolver& resolver;
    const route::RouterTable& table;
    const std::vector<std::optional<HostPort>>& upstreams;
  };

  // `index`: of this port among the relay's, the same on every thread. `reset_secret`: 32 bytes,
  // the same on every thread. `tls` outlives the links.
  LinkPort(io::Loop& loop, io::Socket socket, std::size_t index, const crypto::TlsContext& tls,
           Bytes reset_secret, Metrics& metrics, Tunnel& tunnel, Fabric& fabric,
           const Passing& passing);

  ~LinkPort();  // after its links: the tunnel goes first

  // For links from now on; outlives them.
  void set_tls(const crypto::TlsContext& tls) { tls_ = &tls; }
  // A datagram that another thread passed on.
  void adopt(const StrayDatagram& datagram);
  void learn(const quic::ConnectionId& id, std::uint32_t thread) { passage_.learn(id, thread); }

  Result<std::size_t> send(const quic::Outgoing& batch) override;
  void wait_writable(flow::QuicLink& link) override;

 private:
  void on_datagrams(const io::Completion& c);
  void on_writable(const io::Completion& c);
  // `stray`: passed on by another thread already; it is not passed on again.
  void sort(const quic::Path& path, std::uint8_t ecn, Bytes datagram, bool stray);
  void sort_ours(const quic::Path& path, std::uint8_t ecn, Bytes datagram, bool stray);
  void waited(const quic::Path& path, std::uint8_t ecn, Bytes datagram);
  void send_passed(const Address& peer, const Address& local, Bytes datagram);
  void accept(const quic::Path& path, std::uint8_t ecn, Bytes datagram);
  void after_feed(flow::QuicLink& link);
  void forget(flow::QuicLink& link);

  io::Loop& loop_;
  io::Socket socket_;
  const std::size_t index_;
  const crypto::TlsContext* tls_;  // of new links
  Tunnel& tunnel_;
  Fabric& fabric_;
  quic::Settings settings_;
  quic::Endpoint endpoint_;
  std::unordered_map<quic::Connection*, flow::QuicLink*> links_;
  List<flow::QuicLink, flow::QuicLink> blocked_;
  io::Op receive_;
  io::Op writable_;
  Counter &datagrams_, &stray_, &unroutable_;
  QuicPassage passage_;
};

}  // namespace adit::service

// The HTTP tunnel node: clients' sessions, and the ops that work on them. HTTP is not its business
// (service/node/node_site.h).
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/limits_node.h"
#include "service/edge/owned_list.h"
#include "service/node/buffer_budget.h"
#include "service/node/job.h"
#include "service/node/node_key.h"
#include "service/node/stream_session.h"
#include "service/node/udp_session.h"

namespace adit::service {

struct NodeSettings {
  std::vector<NodeKeySettings> keys;
  route::OwnPlaces own;
  bool diagnostic = false;  // wrong keys and requests are told so; else they get the decoy
  bool compression = true;  // offered to clients ("zc")
  bool connect_data = true;  // false: unsupported, as with nodes of old (for tests of clients)
  bool old_gateway = true;  // the UDP gateway at 198.18.0.1 too
  Duration long_poll = limits::kNodeLongPoll;
  std::size_t sessions = limits::kNodeSessionsMax;
  std::size_t buffer_bytes = limits::kNodeBufferBytesMax;
  std::size_t body_bytes = limits::kNodeBodyBytesMax;
  Duration tcp_idle = limits::kNodeTcpIdle;
  Duration udp_idle = limits::kNodeUdpIdle;
};

class Node final : public SessionOwner {
 public:
  // All outlive it.
  Node(io::Loop& loop, io::Resolver& resolver, Log& log, Metrics& metrics, NodeSettings settings);
  ~Node();

  const NodeSettings& settings() const { return settings_; }
  NodeContext& context() { return context_; }
  NodeKeys& keys() { return keys_; }
  // No new sessions; what is waited for is answered now.
  void drain();
  bool draining() const { return draining_; }

  // --- for jobs ---
  // A session in the table, which dials already. Errors are texts for the client.
  Result<StreamSession*> open_stream(NodeKey& key, const std::string& host, std::uint16_t port);
  Result<UdpSession*> open_udp(NodeKey& key, const std::string& host, std::uint16_t port);
  // Null: there is none of this key with that id.
  StreamSession* find_stream(NodeKey& key, std::string_view sid);
  UdpSession* find_udp(NodeKey& key, std::string_view sid);
  // Out of the table; it may be held for a while.
  void remove(ClientSession& session);
  // A stream has fetched: it holds bytes that may be asked for again.
  void keeps_bytes(StreamSession& session);

  // --- requests ---
  Job& start(NodeKey& key, std::vector<node::Op> ops, Job::Mode mode, Job::Done done);
  // Whoever asked is gone. Not after its Done.
  void cancel(Job& job);
  std::size_t sessions() const { return sessions_.size(); }
  std::size_t jobs() const { return jobs_.size(); }

 private:
  friend class Job;
  using Table = std::unordered_map<Sid, std::unique_ptr<ClientSession>, SidHash>;

  ClientSession* find(NodeKey& key, std::string_view sid, ClientSession::Kind kind);
  Status may_open(const NodeKey& key) const;
  void unused(ClientSession& session) override;
  void bury();
  void on_reaper();
  bool idle(const ClientSession& session) const;
  void tell_sessions();

  NodeSettings settings_;
  BufferBudget budget_;
  NodeContext context_;
  NodeKeys keys_;
  bool draining_ = false;
  Table sessions_;
  OwnedList<ClientSession> removed_;             // held by somebody
  List<StreamSession, KeptBytes> keeping_;  // least recently fetched first
  std::vector<ClientSession*> unused_;
  io::Task bury_;
  io::Timer reaper_;
  OwnedList<Job> jobs_;
};

}  // namespace adit::service

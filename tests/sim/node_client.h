// A client of the HTTP tunnel node as those in the field: sessions share batches, several batches
// are under way at a time, polls and uploads are numbered, downloads are put in order by number,
// bodies may be zstd. What carries the batches takes seconds, delivers them in any order, and may
// lose answers; the same batch is sent again then.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "proto/codec/zstd.h"
#include "sim/peers.h"
#include "sim/sim_host.h"
#include "sim/sim_world.h"

namespace adit::sim {

struct CarrierModel {
  Duration each_way = 1s;      // between the client and where requests to the node begin
  Duration jitter = 500ms;     // more, at most; batches overtake each other
  double lose = 0;             // of answers, half of them before the node has given them
  std::size_t batches_max = 30;  // at a time
};

struct NodeClientStats {
  std::uint64_t batches = 0, lost = 0, compressed = 0, late = 0;
};

class NodeSession;

// Batches of one key from the host `bridge` to the node.
class NodeClient {
 public:
  NodeClient(World& world, Host& bridge, const Address& node, std::string key, bool zstd,
             const CarrierModel& carrier);
  ~NodeClient();

  // An echo of `bytes` bytes of the pattern.
  NodeSession& open(const std::string& host, std::uint16_t port, std::uint64_t seed,
                    std::uint64_t bytes);
  // All sessions have everything back; the first thing that went wrong is in error().
  bool done() const;
  const std::string& error() const { return error_; }
  const NodeClientStats& stats() const { return stats_; }

 private:
  friend class NodeSession;
  class Fetch;
  struct Op {
    NodeSession* session;
    std::string json;
    std::uint64_t number;  // its seq, where it has one
    bool repeatable;
  };
  struct Batch {
    std::vector<Op> ops;
    std::string body;
    bool repeatable = true;
  };

  void submit(Op op);
  void gather();
  std::string body_of(const Batch& batch);
  void send(std::shared_ptr<Batch> batch);
  void begin(std::shared_ptr<Batch> batch);
  void on_answer(std::shared_ptr<Batch> batch, int status, const std::string& body);
  void take(const Batch& batch, const std::string& body);
  void fail(std::string why);
  Duration travel();

  World& world_;
  Host& bridge_;
  const Address node_;
  const std::string key_;
  const bool zstd_;
  const CarrierModel carrier_;
  bool offered_ = false, gathering_ = false;
  std::size_t in_flight_ = 0;
  std::string error_;
  NodeClientStats stats_;
  codec::ZstdEncoder encoder_;
  codec::ZstdDecoder decoder_;
  std::deque<Op> pending_;
  std::map<std::uint64_t, std::unique_ptr<Fetch>> fetches_;
  std::uint64_t next_fetch_ = 0;
  std::vector<std::unique_ptr<NodeSession>> sessions_;
};

// One connection through the node.
class NodeSession {
 public:
  NodeSession(NodeClient& client, std::string host, std::uint16_t port, std::uint64_t seed,
              std::uint64_t bytes);
  void start();
  bool done() const { return received_ == total_; }
  std::uint64_t received() const { return received_; }

 private:
  friend class NodeClient;
  struct Reply {
    ByteVector bytes;
    bool eof = false;
  };
  void on_opened(const std::string& sid, Reply reply);
  void on_reply(std::uint64_t number, Reply reply);
  void take(const Reply& reply);
  void upload();
  void fill();
  void poll();

  NodeClient& client_;
  const std::string host_;
  const std::uint16_t port_;
  const Pattern pattern_;
  const std::uint64_t total_;
  std::string sid_;
  std::uint64_t sent_ = 0, received_ = 0;
  std::uint64_t seq_ = 0, wseq_ = 0, next_ = 0;
  std::size_t depth_ = 2, polls_ = 0, full_ = 0, empty_ = 0;
  bool closed_ = false;
  std::map<std::uint64_t, bool> polls_out_;  // numbers that are polls
  std::map<std::uint64_t, Reply> replies_;
};

}  // namespace adit::sim

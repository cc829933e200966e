// One request at work: all its ops at a time, one result for each, whatever becomes of them.
//
//   Starting    ops begin in their order, a bounded amount of work a turn
//   Connecting  sessions that open; after a moment the rest goes on without those that do not
//   Waiting     until something is there to be fetched, or the time for that is over
//   Settling    stragglers of what has begun to arrive (where a client is active)
//   Holding     uploads that their upstreams do not take; the answer to another of the same request
//   (done)      fetched, and told
#pragma once

#include <memory>
#include <vector>

#include "base/list.h"
#include "io/loop.h"
#include "proto/node/reply.h"
#include "proto/node/request.h"
#include "service/node/client_session.h"

namespace adit::service {

class Node;
class StreamSession;
class UdpSession;

class Job final : public ListNode<Job> {
 public:
  enum class Mode : std::uint8_t { Single, Batch };
  // Called once, as the last thing, never from within a call into the node. The job is over then
  // and destroys itself.
  using Done = Delegate<void(std::vector<node::OpResult>)>;

  Job(Node& node, NodeKey& key, std::vector<node::Op> ops, Mode mode, Done done);
  ~Job();

  void start();
  // Answers soon, with what is there.
  void hurry();
  // Nobody waits for it any more: what it has not told anybody did not happen.
  void abandon();

 private:
  enum class Phase : std::uint8_t { Starting, Connecting, Waiting, Settling, Holding, Done };
  struct Entry;

  // --- ops (job_ops.cc) ---
  void begin(Entry& entry);
  void begin_connect(Entry& entry);
  void begin_data(Entry& entry);
  void begin_udp_open(Entry& entry);
  void begin_udp_data(Entry& entry);
  void begin_close(Entry& entry);
  bool decode(Entry& entry, ByteVector& out);
  void attend(Entry& entry, ClientSession& session);
  void missing(Entry& entry);
  void arrive(Entry& entry, StreamSession& stream);
  bool upload(Entry& entry, StreamSession& stream, ByteVector bytes);

  // --- phases ---
  void run();
  void inherit();
  void on_timer() { loop_.run_later(task_); }
  void begin_some();
  void connect_some();
  void enter_waiting();
  void wait_some();
  void settle_some();
  void hold_some();
  void take_opened(Entry& entry);
  bool any_pending() const;
  bool ready(const Entry& entry) const;
  bool single_ready();
  std::size_t arrived() const;
  bool twins_open() const;
  Duration upload_hold() const;

  // --- the end (job_results.cc) ---
  void finish();
  void fetch_streams();
  bool fetch_stream(Entry& entry);
  void answer_poll(Entry& entry, std::uint64_t begin, bool eof);
  void fetch_udp(Entry& entry);
  void settle_failed(Entry& entry);
  std::size_t allowance(std::size_t most) const;
  void spend(std::size_t n);

  Node& node_;
  io::Loop& loop_;
  NodeKey& key_;
  const Mode mode_;
  Done done_;
  Phase phase_ = Phase::Starting;
  bool active_ = false, hurried_ = false;
  std::size_t begun_ = 0, turn_bytes_ = 0, left_bytes_ = 0;
  std::size_t seen_ = 0;   // bytes and datagrams there when last looked
  Instant grown_;          // when more came (Single)
  Instant started_, deadline_, settle_end_;
  std::vector<std::unique_ptr<Entry>> entries_;
  io::Task task_;
  io::Timer timer_;
};

}  // namespace adit::service

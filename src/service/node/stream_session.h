// A TCP connection of a client, or its UDP gateway: bytes both ways, each with its bound.
//
// Up: what the upstream does not take waits; chunks that arrive ahead of one that is missing wait
// for it. Down: what the upstream sends is held until polls fetch it, and a while longer for those
// whose answer gets lost; beyond its share of the budget the upstream is not read.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/byte_ring.h"
#include "flow/duplex.h"
#include "flow/racing_dialer.h"
#include "proto/node/poll_order.h"
#include "proto/node/reply.h"
#include "service/node/buffer_budget.h"
#include "service/node/destination.h"
#include "service/node/client_session.h"

namespace adit::service {

struct KeptBytes;

class StreamSession final : public ClientSession,
                            public ListNode<KeptBytes>,
                            public node::PayloadSource,
                            private flow::DuplexListener,
                            private BudgetWaiter {
 public:
  StreamSession(SessionOwner& owner, NodeContext& context, NodeKey& key);
  ~StreamSession() override;

  // One of both, once.
  void dial(Destination destination);
  void attach(std::unique_ptr<flow::Duplex> upstream);

  // --- up ---
  enum class Upload : std::uint8_t { Taken, AheadFull, QueueFull };
  // `wseq`: the chunk's number, from 0; unset: it goes behind what is there.
  Upload upload(ByteVector bytes, std::optional<std::uint64_t> wseq);
  // What the upstream has not taken.
  std::size_t upload_waiting() const { return up_.size() + ahead_bytes_; }

  // --- down ---
  std::size_t unfetched() const { return static_cast<std::size_t>(down_.end() - fetched_); }
  // Nothing comes any more.
  bool ended() const { return ended_; }
  bool at_end() const { return ended_ && unfetched() == 0; }
  // A poll was told of the end; the session stays for those whose answer gets lost.
  bool told_end() const { return told_end_; }
  void set_told_end() {
    told_end_ = true;
    shut();
  }
  // The next bytes, `most` at most; they count as fetched.
  node::Payload fetch(std::size_t most);
  // What was fetched before, while it is remembered.
  node::Payload again(std::uint64_t begin, std::uint64_t end);
  std::uint64_t fetched_to() const { return fetched_; }
  std::uint64_t received() const { return down_.end(); }

  // --- polls by number ---
  node::PollOrder& order();
  bool ordered() const { return order_ != nullptr; }
  void forget_answers(Instant then, std::size_t bytes);

 private:
  struct Dial {
    Dial(StreamSession& session, Destination to);
    Destination destination;
    flow::RacingDialer dialer;
  };
  // The rest of an upload, behind a session that was closed.
  struct Linger {
    explicit Linger(StreamSession& session)
        : timer(session.context_.loop, Delegate<void()>::to<&StreamSession::end_linger>(&session)) {
    }
    io::Timer timer;
  };

  void on_dialled(Result<io::Socket> socket);
  void on_readable() override;
  void on_writable() override;
  void on_failed(const Error& error) override;
  void on_room() override;
  void shut() override;
  void end_linger();
  void append_up(Bytes bytes);
  void push();
  void drop_upload();
  void trim();

  Bytes peek(std::uint64_t offset) const override { return down_.peek(offset); }
  void hold(std::uint64_t offset) override;
  void let_go(std::uint64_t offset) override;

  NodeContext& context_;
  std::unique_ptr<Dial> dial_;
  std::unique_ptr<flow::Duplex> upstream_;
  std::unique_ptr<Linger> linger_;
  bool ended_ = false, told_end_ = false;
  bool broken_ = false;  // it takes nothing any more
  ByteRing up_, down_;
  std::uint64_t fetched_ = 0;
  std::uint64_t next_wseq_ = 0;
  std::size_t ahead_bytes_ = 0;
  std::map<std::uint64_t, ByteVector> ahead_;
  std::vector<std::uint64_t> held_;  // offsets from which on somebody reads
  std::unique_ptr<node::PollOrder> order_;
};

}  // namespace adit::service

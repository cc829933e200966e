// One op of a job. Internal to job*.cc.
#pragma once

#include <optional>

#include "service/node/job.h"
#include "service/node/stream_session.h"
#include "service/node/udp_session.h"

namespace adit::service {

struct Job::Entry final : SessionWatcher {
  enum class State : std::uint8_t {
    Opening,  // the session is: told when it is open, or earlier if others wait
    Fetching,  // what comes from the session is its result
    Told,     // result is complete
  };

  Entry(Job& j, node::Op o) : job(j), op(std::move(o)) {}
  ~Entry() { release(); }
  void on_session_changed() override { job.loop_.run_later(job.task_); }
  void tell(node::OpResult r) {
    result = std::move(r);
    state = State::Told;
  }
  void release() {
    unlink();
    if (session != nullptr) std::exchange(session, nullptr)->let_go();
  }
  StreamSession* stream() const {
    return session != nullptr && session->kind() == ClientSession::Kind::Stream
               ? static_cast<StreamSession*>(session)
               : nullptr;
  }
  UdpSession* udp() const {
    return session != nullptr && session->kind() == ClientSession::Kind::Udp
               ? static_cast<UdpSession*>(session)
               : nullptr;
  }
  bool is_poll() const { return op.kind == node::OpKind::Data && op.seq.has_value(); }
  // A result that says which session, and nothing of it.
  node::OpResult empty_result(bool eof) const {
    node::OpResult out;
    out.sid = session != nullptr ? session->sid().text() : op.sid.value_or("");
    out.eof = eof;
    if (op.kind == node::OpKind::Data || op.kind == node::OpKind::UdpData) out.seq = op.seq;
    return out;
  }

  Job& job;
  node::Op op;
  State state = State::Opening;
  ClientSession* session = nullptr;  // held
  bool carries = false;        // a payload, which was taken
  bool opened_here = false;    // by this op; nobody has been told its id
  node::PollOrder::Arrival arrival = node::PollOrder::Arrival::Fresh;  // of a poll by number
  node::OpResult result;
};

}  // namespace adit::service

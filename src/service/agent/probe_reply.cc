#include "service/agent/probe_reply.h"

#include <algorithm>

namespace adit::service {

namespace {
// Of the service: less than the relay waits for the answer, so that it hears which leg failed.
constexpr Duration kDialDeadline = 3s;
// Of the whole.
constexpr Duration kReplyDeadline = 10s;
}  // namespace

ProbeReply::ProbeReply(io::Loop& loop, io::Resolver& resolver, std::unique_ptr<flow::Duplex> end,
                       Done done)
    : loop_(loop),
      done_(done),
      end_(std::move(end)),
      dialer_(loop, resolver, flow::Dialer::Done::to<&ProbeReply::on_dialled>(this)),
      deadline_(loop, Delegate<void()>::to<&ProbeReply::on_deadline>(this)) {}

ProbeReply::~ProbeReply() { end_->set_listener(nullptr); }

void ProbeReply::start(const HostPort& service, ProbeAnswer::Certificate certificate) {
  answer_.certificate = certificate;
  deadline_.set(loop_.now() + kReplyDeadline);
  end_->set_listener(this);
  end_->start();
  dialer_.dial(service, Deadline::after(loop_.now(), kDialDeadline));
}

void ProbeReply::on_readable() {
  while (!end_->readable().empty()) {
    const Bytes bytes = end_->readable();
    const std::size_t wanted = kHelloRandomEnd - std::min(kHelloRandomEnd, hello_.size());
    const Bytes kept = bytes.first(std::min(wanted, bytes.size()));
    hello_.insert(hello_.end(), kept.begin(), kept.end());
    end_->consume(bytes.size());
  }
  if (answered_ && end_->at_end()) return done_(*this);
  answer_if_ready();
}

// The connection itself is of no use, and goes at once.
void ProbeReply::on_dialled(Result<io::Socket> socket) {
  dialled_ = true;
  answer_.service = static_cast<bool>(socket);
  answer_if_ready();
}

void ProbeReply::answer_if_ready() {
  const auto random = random_of_hello(hello_);
  if (answered_ || !dialled_ || !random) return;
  answered_ = true;
  const std::string text = probe_answer_text(*random, answer_);
  static_cast<void>(end_->write(as_bytes(text)));  // the first bytes of the stream: there is room
  end_->finish();
}

void ProbeReply::on_deadline() {
  end_->abort();
  done_(*this);
}

}  // namespace adit::service

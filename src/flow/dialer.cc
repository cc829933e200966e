#include "flow/dialer.h"

#include <cerrno>

namespace adit::flow {

Dialer::Dialer(io::Loop& loop, io::Resolver& resolver, Done done)
    : loop_(loop),
      resolver_(resolver),
      done_(done),
      request_(io::ResolveRequest::Handler::to<&Dialer::on_resolved>(this)),
      connect_(io::Op::Handler::to<&Dialer::on_connected>(this)),
      timer_(loop, Delegate<void()>::to<&Dialer::on_deadline>(this)),
      attempt_(loop, Delegate<void()>::to<&Dialer::on_attempt_over>(this)) {}

void Dialer::dial(const HostPort& to, Deadline deadline, const std::optional<Address>& as) {
  CHECK(deadline_ == Instant{});
  deadline_ = deadline.instant();
  as_ = as;
  timer_.set(deadline_);
  last_ = Error{ETIMEDOUT, "no address for " + to.host + " in time"};
  resolver_.resolve(request_, to.host, to.port, deadline);
}

void Dialer::on_resolved(const Result<std::vector<Address>>& addresses) {
  if (!addresses) return fail(addresses.error());
  addresses_ = *addresses;
  try_next();
}

Result<io::Socket> Dialer::open(const Address& to) {
  auto socket = loop_.open_tcp(to);
  if (!socket || !as_) return socket;
  if (auto bound = loop_.bind_foreign(*socket, *as_); !bound) return std::move(bound).error();
  return socket;
}

void Dialer::try_next() {
  for (;;) {
    if (next_ == addresses_.size()) return fail(last_);
    const Address& to = addresses_[next_++];
    last_ = Error{ETIMEDOUT, to.text() + ": no answer in time"};
    auto socket = open(to);
    if (!socket) {
      last_ = std::move(socket).error().with(to.text());
      continue;
    }
    socket_ = std::move(*socket);
    const auto left = static_cast<std::int64_t>(addresses_.size() - next_ + 1);
    attempt_.set(loop_.now() + (deadline_ - loop_.now()) / left);
    return loop_.connect(connect_, socket_, to);
  }
}

void Dialer::on_connected(const io::Completion& c) {
  if (done_said_) return;  // what was under way at the deadline
  if (c.result < 0) {
    if (c.result != -ECANCELED)
      last_ = errno_error(-c.result, "connect").with(addresses_[next_ - 1].text());
    socket_.reset();
    // A connection from this very port was here a moment ago: from another one, then.
    if (c.result == -EADDRNOTAVAIL && as_ && as_->port != 0) {
      as_->port = 0;
      --next_;
    }
    return try_next();
  }
  done_said_ = true;
  timer_.stop();
  attempt_.stop();
  done_(std::move(socket_));
}

void Dialer::on_attempt_over() { loop_.cancel(connect_); }

void Dialer::on_deadline() {
  request_.cancel();
  fail(last_);
}

void Dialer::fail(Error error) {
  done_said_ = true;
  loop_.cancel(connect_);
  socket_.reset();
  timer_.stop();
  attempt_.stop();
  done_(std::move(error));
}

}  // namespace adit::flow

#include "flow/racing_dialer.h"

#include <algorithm>
#include <cerrno>

namespace adit::flow {

class RacingDialer::Attempt {
 public:
  Attempt(RacingDialer& dialer, const Address& to, io::Socket socket)
      : dialer_(dialer),
        socket_(std::move(socket)),
        connect_(io::Op::Handler::to<&Attempt::on_connected>(this)) {
    dialer_.loop_.connect(connect_, socket_, to);
  }
  io::Socket take() { return std::move(socket_); }

 private:
  void on_connected(const io::Completion& c) { dialer_.on_attempt(*this, c.result); }

  RacingDialer& dialer_;
  io::Socket socket_;
  io::Op connect_;
};

namespace {

// RFC 8305 §4: the first address decides which family is first; then they take turns.
std::vector<Address> in_turns(const std::vector<Address>& in) {
  std::vector<Address> one, other, out;
  for (const Address& a : in) (a.ip.is_v4() == in.front().ip.is_v4() ? one : other).push_back(a);
  for (std::size_t i = 0; i < std::max(one.size(), other.size()); ++i) {
    if (i < one.size()) out.push_back(one[i]);
    if (i < other.size()) out.push_back(other[i]);
  }
  if (out.size() > RacingDialer::kAttemptsMax) out.resize(RacingDialer::kAttemptsMax);
  return out;
}

}  // namespace

RacingDialer::RacingDialer(io::Loop& loop, io::Resolver& resolver, Select select, Done done)
    : loop_(loop),
      select_(select),
      done_(done),
      resolver_(resolver),
      last_{ETIMEDOUT, "no address in time"},
      request_(io::ResolveRequest::Handler::to<&RacingDialer::on_resolved>(this)),
      head_start_(loop, Delegate<void()>::to<&RacingDialer::on_stagger>(this)),
      deadline_(loop, Delegate<void()>::to<&RacingDialer::on_deadline>(this)) {}

RacingDialer::~RacingDialer() = default;

void RacingDialer::dial(std::string_view host, std::uint16_t port, Duration stagger,
                        Deadline deadline) {
  CHECK(!deadline_.armed());
  stagger_ = stagger;
  deadline_.set(deadline.instant());
  resolver_.resolve(request_, host, port, deadline);
}

void RacingDialer::on_resolved(const Result<std::vector<Address>>& found) {
  if (!found) return finish(found.error());
  resolved_ = true;
  auto selected = select_(*found);
  if (!selected) return finish(std::move(selected).error());
  if (selected->empty()) return finish(Error{ENOENT, "no address"});
  addresses_ = in_turns(*selected);
  last_ = Error{ETIMEDOUT, addresses_.front().text() + ": no answer in time"};
  try_next();
}

void RacingDialer::try_next() {
  head_start_.stop();
  while (next_ < addresses_.size()) {
    const Address& to = addresses_[next_++];
    auto socket = loop_.open_tcp(to);
    if (!socket) {
      last_ = std::move(socket).error().with(to.text());
      continue;
    }
    attempts_.push_back(std::make_unique<Attempt>(*this, to, std::move(*socket)));
    if (next_ < addresses_.size()) head_start_.set(loop_.now() + stagger_);
    return;
  }
  if (attempts_.empty()) finish(last_);
}

void RacingDialer::on_attempt(Attempt& attempt, int result) {
  if (result >= 0) return finish(attempt.take());
  last_ = errno_error(-result, "connect");
  std::erase_if(attempts_, [&](const auto& a) { return a.get() == &attempt; });
  try_next();  // RFC 8305 §5: a failure does not wait for the head start
}

void RacingDialer::on_deadline() {
  out_of_time_ = true;
  finish(Error{ETIMEDOUT, last_.what});
}

void RacingDialer::finish(Result<io::Socket> result) {
  request_.cancel();
  head_start_.stop();
  deadline_.stop();
  attempts_.clear();  // whoever is late has lost
  done_(std::move(result));
}

}  // namespace adit::flow

#include "sim/tunnel_peers.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/check.h"
#include "crypto/tls_session.h"
#include "flow/tcp_stream.h"
#include "flow/tls_stream.h"

namespace adit::sim {

namespace {

constexpr std::size_t kHeaderBytes = 4 * 8;
// Plus the visitor's number.
constexpr std::uint64_t kUpSeed = 0x5500'0000, kDownSeed = 0xdd00'0000;

const crypto::TlsContext& any_server() {
  static const crypto::TlsContext context = [] {
    crypto::ClientTls tls;
    tls.verify = crypto::Verify::Callback;
    tls.alpn = {"http/1.1"};
    auto made = crypto::TlsContext::client(tls);
    CHECK(made);
    return std::move(*made);
  }();
  return context;
}

}  // namespace

const ByteVector& client_hello(const std::string& name) {
  static std::map<std::string, ByteVector> made;
  ByteVector& hello = made[name];
  if (hello.empty()) {
    auto session = crypto::TlsSession::client(any_server(), name);
    CHECK(session);
    const Bytes output = session->output();
    hello.assign(output.begin(), output.end());
  }
  return hello;
}

ByteVector visit_prefix(const ByteVector& hello, const VisitPlan& plan) {
  ByteVector out = hello;
  Writer w(out);
  w.u64(plan.number);
  w.u64(plan.up);
  w.u64(plan.down);
  w.u64(plan.hold ? 1 : 0);
  return out;
}

VisitorPlan visitor_plan(const ByteVector& hello, const VisitPlan& plan) {
  VisitorPlan out;
  out.prefix = visit_prefix(hello, plan);
  out.send_seed = kUpSeed + plan.number;
  out.send_bytes = plan.up;
  out.expect_seed = kDownSeed + plan.number;
  out.fin = !plan.hold;
  return out;
}

// --- TunnelService ---

class TunnelService::Connection {
 public:
  Connection(TunnelService& service, io::Socket socket)
      : service_(service),
        loop_(service.loop_),
        socket_(std::move(socket)),
        receive_(io::Op::Handler::to<&Connection::on_received>(this)),
        tick_(loop_, Delegate<void()>::to<&Connection::on_tick>(this)) {
    loop_.receive(receive_, socket_);
  }
  bool ended() const { return !socket_; }

 private:
  void on_received(const io::Completion& c) {
    if (c.result < 0) return fail(-c.result);
    if (c.result == 0) {
      if (outcome_ == nullptr) return fail(EPIPE);
      outcome_->eof = true;
      return on_tick();
    }
    Bytes bytes = c.data;
    if (outcome_ == nullptr) {
      head_.insert(head_.end(), bytes.begin(), bytes.end());
      if (head_.size() < service_.hello_.size() + kHeaderBytes) return;
      if (!begin()) return fail(EPROTO);
      bytes = Bytes(head_).subspan(service_.hello_.size() + kHeaderBytes);
    }
    check(bytes);
  }

  bool begin() {
    const Bytes head(head_);
    const std::size_t hello = service_.hello_.size();
    if (!std::ranges::equal(head.first(hello), service_.hello_)) return false;
    Reader r(head.subspan(hello));
    const std::uint64_t number = r.u64();
    outcome_ = &service_.outcomes_[number];
    ++outcome_->connections;
    outcome_->expected = r.u64();
    up_.emplace(kUpSeed + number);
    sender_ = std::make_unique<PatternSender>(loop_, socket_, kDownSeed + number, r.u64());
    if (r.u64() != 0) sender_->keep_open();
    sender_->start();
    on_tick();
    return true;
  }

  void check(Bytes bytes) {
    const std::size_t right = up_->match(outcome_->received, bytes);
    if (right < bytes.size()) outcome_->intact = false;
    if (outcome_->intact) outcome_->received += right;
  }

  // Looks whether both directions are through: then a server closes.
  void on_tick() {
    if (sender_->error() != 0) return fail(sender_->error());
    outcome_->sent = sender_->done();
    if (outcome_->sent && outcome_->eof) return socket_.reset();
    tick_.set(loop_.now() + 100ms);
  }

  void fail(int error) {
    if (outcome_ != nullptr) {
      outcome_->error = error;
    } else {
      ++service_.strangers_;
    }
    tick_.stop();
    sender_.reset();
    socket_.reset();
  }

  TunnelService& service_;
  io::Loop& loop_;
  io::Socket socket_;
  ByteVector head_;
  Outcome* outcome_ = nullptr;
  std::optional<Pattern> up_;
  std::unique_ptr<PatternSender> sender_;
  io::Op receive_;
  io::Timer tick_;
};

TunnelService::TunnelService(io::Loop& loop, const Address& at, ByteVector hello)
    : Server(loop, at), hello_(std::move(hello)) {}

TunnelService::~TunnelService() = default;

TunnelService::Outcome TunnelService::of(std::uint64_t number) const {
  const auto found = outcomes_.find(number);
  return found == outcomes_.end() ? Outcome{} : found->second;
}

std::size_t TunnelService::open() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      connections_, [](const auto& c) { return !c->ended(); }));
}

void TunnelService::serve(io::Socket socket) {
  std::erase_if(connections_, [](const auto& c) { return c->ended(); });
  connections_.push_back(std::make_unique<Connection>(*this, std::move(socket)));
}

// --- TlsClientProxy ---

class TlsClientProxy::Joined final : public ListNode<Joined> {
 public:
  Joined(TlsClientProxy& proxy, io::Socket near)
      : proxy_(proxy),
        near_(std::move(near)),
        dialer_(proxy.loop_, proxy.resolver_, flow::Dialer::Done::to<&Joined::on_dialled>(this)) {}
  void start() {
    dialer_.dial({proxy_.to_.ip.text(), proxy_.to_.port}, Deadline::after(proxy_.loop_.now(), 10s));
  }

 private:
  void on_dialled(Result<io::Socket> socket) {
    auto session = crypto::TlsSession::client(any_server(), proxy_.name_);
    CHECK(session);
    if (!socket) return finish(flow::PumpEnd::Failed);
    auto inner = std::make_unique<flow::TcpStream>(proxy_.loop_, std::move(*socket));
    pump_ = std::make_unique<flow::Pump>(
        proxy_.loop_, proxy_.bulk_, proxy_.limits_,
        std::make_unique<flow::TcpStream>(proxy_.loop_, std::move(near_)),
        std::make_unique<flow::TlsStream>(proxy_.loop_, std::move(inner), std::move(*session)),
        flow::Pump::Done::to<&Joined::finish>(this));
    pump_->start();
  }
  void finish(flow::PumpEnd end) {
    if (end != flow::PumpEnd::Finished) ++proxy_.failed_;
    proxy_.joined_.erase(*this);
  }

  TlsClientProxy& proxy_;
  io::Socket near_;
  flow::Dialer dialer_;
  std::unique_ptr<flow::Pump> pump_;
};

TlsClientProxy::TlsClientProxy(io::Loop& loop, const Address& at, const Address& to,
                               std::string name)
    : Server(loop, at), to_(to), name_(std::move(name)), resolver_(loop, names_), bulk_(loop) {}

TlsClientProxy::~TlsClientProxy() { joined_.clear(); }

void TlsClientProxy::serve(io::Socket socket) {
  joined_.add(std::make_unique<Joined>(*this, std::move(socket))).start();
}

}  // namespace adit::sim

#include "service/node/node_server.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "flow/tcp_stream.h"

namespace adit::service {

namespace {
// RFC 9113 §3.4: what an HTTP/2 client begins with, and no request of HTTP/1 does.
constexpr std::string_view kPreface = "PRI ";
}  // namespace

// One connection.
class NodeVisit final : public ListNode<NodeVisit>, private flow::HttpHandler {
 public:
  NodeVisit(NodeServer& server, io::Socket socket)
      : server_(server),
        socket_(std::move(socket)),
        receive_(io::Op::Handler::to<&NodeVisit::on_receive>(this)),
        deadline_(server.loop_, Delegate<void()>::to<&NodeVisit::end>(this)) {}

  void start() {
    deadline_.set(server_.loop_.now() + limits::kHttpHeadDeadline);
    server_.loop_.receive_once(receive_, socket_);
  }
  void drain() {
    if (connection_ == nullptr) return;
    connection_->drain();
  }
  bool silent() const { return connection_ == nullptr; }

 private:
  void on_receive(const io::Completion& c) {
    if (c.result <= 0) return end();
    early_.insert(early_.end(), c.data.begin(), c.data.end());
    const std::size_t n = std::min(early_.size(), kPreface.size());
    const bool h2 = as_text(Bytes(early_).first(n)) == kPreface.substr(0, n);
    if (h2 && n < kPreface.size()) return server_.loop_.receive_once(receive_, socket_);
    deadline_.stop();
    auto stream = std::make_unique<flow::TcpStream>(server_.loop_, std::move(socket_),
                                                    std::move(early_));
    connection_ = h2 ? flow::HttpConnection::http2(server_.loop_, *this, std::move(stream))
                     : flow::HttpConnection::http1(server_.loop_, *this, std::move(stream),
                                                   "http");
    connection_->start();
    if (server_.draining_) connection_->drain();
  }
  void on_request(std::unique_ptr<flow::HttpExchange> exchange) override {
    server_.site_.serve(std::move(exchange));
  }
  void on_connection_over() override { end(); }
  void end() { server_.erase(*this); }  // destroys this

  NodeServer& server_;
  io::Socket socket_;
  io::Op receive_;
  io::Timer deadline_;  // until the first bytes
  ByteVector early_;
  std::unique_ptr<flow::HttpConnection> connection_;
};

NodeServer::NodeServer(io::Loop& loop, Log& log, Metrics& metrics, NodeSite& site)
    : loop_(loop),
      log_(log),
      site_(site),
      open_(metrics.gauge("adit_node_connections")),
      refused_(metrics.counter("adit_node_connections_refused_total")),
      accept_(io::Op::Handler::to<&NodeServer::on_accepted>(this)),
      pause_(loop, Delegate<void()>::to<&NodeServer::start>(this)),
      drain_deadline_(loop, Delegate<void()>::to<&NodeServer::on_drained>(this)) {}

NodeServer::~NodeServer() = default;

Status NodeServer::listen(const Address& at) {
  auto opened = loop_.listen_tcp(at, {.reuse_port = false, .backlog = limits::kListenBacklog});
  if (!opened) return std::move(opened).error().with(at.text());
  listener_ = std::move(*opened);
  start();
  return {};
}

void NodeServer::on_accepted(const io::Completion& c) {
  if (c.result >= 0) {
    io::Socket socket = loop_.adopt(c.result);
    if (draining_ || visits_.size() >= limits::kNodeConnectionsMax) {
      refused_.add();
    } else {
      visits_.add(std::make_unique<NodeVisit>(*this, std::move(socket))).start();
      open_.add(1);
    }
    if (!c.more && !draining_) start();
    return;
  }
  if (c.result == -ECANCELED) return;
  const auto held = once_.admit(loop_.now(), static_cast<std::uint64_t>(-c.result));
  if (held >= 0)
    log_.warn("node.accept_failed",
              {{"error", errno_error(-c.result, "accept").what}, {"suppressed", held}});
  if (!c.more && !draining_) pause_.set(loop_.now() + limits::kAcceptPause);
}

void NodeServer::erase(NodeVisit& visit) {
  visits_.erase(visit);
  open_.add(-1);
  if (draining_ && visits_.size() == 0) drain_deadline_.set(loop_.now());
}

void NodeServer::drain(Duration deadline, Delegate<void()> done) {
  CHECK(!draining_);
  draining_ = true;
  drained_ = done;
  loop_.cancel(accept_);
  pause_.stop();
  listener_.reset();
  std::vector<std::unique_ptr<NodeVisit>> all;
  while (NodeVisit* v = visits_.oldest()) all.push_back(visits_.take(*v));
  for (auto& visit : all) {
    if (visit->silent()) {
      open_.add(-1);
      continue;
    }
    visits_.add(std::move(visit)).drain();
  }
  drain_deadline_.set(visits_.size() == 0 ? loop_.now() : loop_.now() + deadline);
}

void NodeServer::on_drained() { drained_(); }

}  // namespace adit::service

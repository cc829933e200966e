#include "service/node/node.h"

#include <cerrno>
#include <optional>

#include "service/node/udp_gateway.h"

namespace adit::service {

Node::Node(io::Loop& loop, io::Resolver& resolver, Log& log, Metrics& metrics,
           NodeSettings settings)
    : settings_(std::move(settings)),
      budget_(settings_.buffer_bytes),
      context_{loop, resolver, log, metrics, budget_},
      keys_(settings_.keys, settings_.own, loop.now()),
      bury_(Delegate<void()>::to<&Node::bury>(this)),
      reaper_(loop, Delegate<void()>::to<&Node::on_reaper>(this)) {
  reaper_.set(loop.now() + limits::kNodeReaperPeriod);
}

Node::~Node() {
  jobs_.clear();
  for (auto& [sid, session] : sessions_) session->remove();
}

void Node::drain() {
  draining_ = true;
  std::vector<std::unique_ptr<Job>> all;
  while (Job* job = jobs_.oldest()) all.push_back(jobs_.take(*job));
  for (auto& job : all) jobs_.add(std::move(job)).hurry();
}

// --- sessions ---

Status Node::may_open(const NodeKey& key) const {
  if (draining_) return Error{ESHUTDOWN, "the node is shutting down"};
  if (sessions_.size() >= settings_.sessions || key.sessions >= key.sessions_max())
    return Error{EAGAIN, "too many sessions"};
  return {};
}

Result<StreamSession*> Node::open_stream(NodeKey& key, const std::string& host,
                                         std::uint16_t port) {
  constexpr std::string_view kPrefix = "connect failed: ";
  if (auto ok = may_open(key); !ok)
    return Error{ok.error().code, std::string(kPrefix) + ok.error().what};
  const bool gateway = is_udp_gateway(host, port, settings_.old_gateway);
  std::optional<Destination> destination;
  if (!gateway) {
    auto made = Destination::make(context_, key, host, port);
    if (!made) {
      const bool name = made.error().code == ENOENT;
      return Error{0, failure_text(kPrefix, made.error(), name, false)};
    }
    destination = std::move(*made);
  }
  auto session = std::make_unique<StreamSession>(*this, context_, key);
  StreamSession* out = session.get();
  sessions_.emplace(out->sid(), std::move(session));
  tell_sessions();
  if (gateway) {
    out->attach(std::make_unique<UdpGateway>(context_, key));
    return out;
  }
  context_.log.debug("node.connect",
                     {{"session", out->sid().short_text()}, {"key", key.name()},
                      {"to", destination->host()}, {"port", port}});
  out->dial(std::move(*destination));
  return out;
}

Result<UdpSession*> Node::open_udp(NodeKey& key, const std::string& host, std::uint16_t port) {
  constexpr std::string_view kPrefix = "udp connect failed: ";
  if (auto ok = may_open(key); !ok)
    return Error{ok.error().code, std::string(kPrefix) + ok.error().what};
  auto destination = Destination::make(context_, key, host, port);
  if (!destination) {
    const bool name = destination.error().code == ENOENT;
    return Error{0, failure_text(kPrefix, destination.error(), name, false)};
  }
  auto session = std::make_unique<UdpSession>(*this, context_, key);
  UdpSession* out = session.get();
  sessions_.emplace(out->sid(), std::move(session));
  tell_sessions();
  out->open(std::move(*destination));
  return out;
}

ClientSession* Node::find(NodeKey& key, std::string_view sid, ClientSession::Kind kind) {
  const auto id = Sid::parse(sid);
  if (!id) return nullptr;
  const auto at = sessions_.find(*id);
  if (at == sessions_.end()) return nullptr;
  ClientSession& session = *at->second;
  return &session.key() == &key && session.kind() == kind ? &session : nullptr;
}

StreamSession* Node::find_stream(NodeKey& key, std::string_view sid) {
  return static_cast<StreamSession*>(find(key, sid, ClientSession::Kind::Stream));
}

UdpSession* Node::find_udp(NodeKey& key, std::string_view sid) {
  return static_cast<UdpSession*>(find(key, sid, ClientSession::Kind::Udp));
}

void Node::remove(ClientSession& session) {
  if (session.removed()) return;
  const auto at = sessions_.find(session.sid());
  CHECK(at != sessions_.end());
  removed_.add(std::move(at->second));
  sessions_.erase(at);
  tell_sessions();
  session.hold();
  session.remove();
  session.let_go();
}

void Node::unused(ClientSession& session) {
  unused_.push_back(&session);
  context_.loop.run_later(bury_);
}

// One that is held again by now stays.
void Node::bury() {
  for (ClientSession* session : std::exchange(unused_, {}))
    if (session->still_unused()) removed_.erase(*session);
}

void Node::tell_sessions() {
  context_.metrics.gauge("adit_node_sessions").set(static_cast<std::int64_t>(sessions_.size()));
}

void Node::keeps_bytes(StreamSession& session) {
  ListNode<KeptBytes>& node = session;
  node.unlink();
  keeping_.push_back(session);
  while (budget_.too_much_kept()) {
    StreamSession* oldest = keeping_.pop_front();
    if (oldest == nullptr) break;
    oldest->forget_answers(Instant::never(), 0);
  }
}

bool Node::idle(const ClientSession& session) const {
  const Duration most =
      session.kind() == ClientSession::Kind::Stream ? settings_.tcp_idle : settings_.udp_idle;
  return !session.held() && context_.loop.now() - session.used_at() > most;
}

void Node::on_reaper() {
  const Instant now = context_.loop.now();
  reaper_.set(now + limits::kNodeReaperPeriod);
  const Instant then{now.ns - std::min(now.ns, limits::kNodeReplayWindow.count())};
  std::vector<ClientSession*> over;
  for (auto& [sid, session] : sessions_) {
    if (session->kind() == ClientSession::Kind::Stream) {
      auto& stream = static_cast<StreamSession&>(*session);
      stream.forget_answers(then, limits::kNodeReplayBytesMax);
      // It was over, and stayed for the sake of its last answers.
      if (stream.told_end() && !(stream.ordered() && stream.order().remembers()) && !stream.held())
        over.push_back(session.get());
    }
    if (idle(*session)) over.push_back(session.get());
  }
  for (ClientSession* session : over) {
    if (session->removed()) continue;
    context_.metrics.counter("adit_node_reaped_total").add();
    remove(*session);
  }
}

// --- requests ---

Job& Node::start(NodeKey& key, std::vector<node::Op> ops, Job::Mode mode, Job::Done done) {
  Job& job = jobs_.add(std::make_unique<Job>(*this, key, std::move(ops), mode, done));
  job.start();
  if (draining_) job.hurry();
  return job;
}

void Node::cancel(Job& job) {
  job.abandon();
  jobs_.erase(job);
}

}  // namespace adit::service

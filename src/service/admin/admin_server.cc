#include "service/admin/admin_server.h"

#include <cerrno>

#include "service/admin/admin_conversation.h"

namespace adit::service {

namespace {
constexpr int kMetricsBacklog = 64;
}  // namespace

AdminListener::AdminListener(io::Loop& loop, Log& log, AdminSource& source,
                             const AdminLimits& limits, AdminDoor door, io::Socket socket)
    : loop_(loop),
      log_(log),
      source_(source),
      limits_(limits),
      door_(door),
      socket_(std::move(socket)),
      accept_(io::Op::Handler::to<&AdminListener::on_accepted>(this)),
      pause_(loop, Delegate<void()>::to<&AdminListener::start>(this)) {
  start();
}

AdminListener::~AdminListener() = default;

void AdminListener::on_accepted(const io::Completion& c) {
  if (c.result >= 0) {
    admit(loop_.adopt(c.result));
    if (!c.more) start();
    return;
  }
  if (c.result == -ECANCELED) return;
  // Out of descriptors or memory: it passes.
  const auto held = once_.admit(loop_.now(), static_cast<std::uint64_t>(-c.result));
  if (held >= 0) {
    log_.warn("admin.accept_failed",
              {{"error", errno_error(-c.result, "accept").what}, {"suppressed", held}});
  }
  if (!c.more) pause_.set(loop_.now() + limits::kAcceptPause);
}

void AdminListener::admit(io::Socket socket) {
  if (reading_.size() + answering_.size() + leaving_.size() >= limits_.connections) {
    OwnedList<AdminConversation>& from = leaving_.size() != 0 ? leaving_ : reading_;
    if (from.size() == 0) return AdminConversation::refuse_busy(loop_, std::move(socket));
    from.erase(*from.oldest());
  }
  reading_.add(std::make_unique<AdminConversation>(*this, std::move(socket))).start();
}

AdminServer::AdminServer(io::Loop& loop, Log& log, AdminSource& source, const AdminLimits& limits)
    : loop_(loop), log_(log), source_(source), limits_(limits) {}

AdminServer::~AdminServer() = default;

void AdminServer::add(std::unique_ptr<AdminListener>& slot, AdminDoor door, io::Socket socket) {
  CHECK(!slot);
  slot = std::make_unique<AdminListener>(loop_, log_, source_, limits_, door, std::move(socket));
}

Status AdminServer::listen_operator(const std::string& path) {
  auto opened = io::listen_unix(loop_, path);
  if (!opened) return std::move(opened).error();
  file_ = std::move(opened->file);
  add(operator_, AdminDoor::Operator, std::move(opened->socket));
  return {};
}

Status AdminServer::listen_metrics(const Address& at) {
  // Without SO_REUSEPORT: a second program on the address must be told, not given half of the
  // questions.
  auto opened = loop_.listen_tcp(at, {.reuse_port = false, .backlog = kMetricsBacklog});
  if (!opened) return std::move(opened).error().with("tcp " + at.text());
  add(metrics_, AdminDoor::Metrics, std::move(*opened));
  return {};
}

Address AdminServer::metrics_address() const {
  return metrics_ ? loop_.local_address(metrics_->socket()) : Address{};
}

}  // namespace adit::service

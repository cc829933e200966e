#include "service/renewal/http_prover.h"

#include <cerrno>

#include "base/limits_acme.h"
#include "service/admin/request_head.h"

namespace adit::service {
namespace {

constexpr std::string_view kFolder = "/.well-known/acme-challenge/";
constexpr std::size_t kHeadBytesMax = 8 * 1024;

std::string answer(std::string_view status, std::string_view body) {
  return "HTTP/1.1 " + std::string(status) +
         "\r\nContent-Type: application/octet-stream\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + std::string(body);
}

}  // namespace

// One connection: a request, its answer, and the end, all within one deadline.
class HttpVisit final : public ListNode<HttpVisit> {
 public:
  HttpVisit(HttpProver& owner, io::Socket socket)
      : owner_(owner),
        socket_(std::move(socket)),
        receive_(io::Op::Handler::to<&HttpVisit::on_receive>(this)),
        deadline_(owner.loop_, Delegate<void()>::to<&HttpVisit::over>(this)) {}

  void start() {
    deadline_.set(owner_.loop_.now() + limits::kAcmeChallengeDeadline);
    owner_.loop_.receive_once(receive_, socket_);
  }

 private:
  void on_receive(const io::Completion& c) {
    if (c.result <= 0) return over();
    if (!answered_) {
      switch (head_.feed(c.data)) {
        case RequestHead::Verdict::More: break;
        case RequestHead::Verdict::Done: say(); break;
        case RequestHead::Verdict::Malformed:
        case RequestHead::Verdict::TooLong: send(answer("400 Bad Request", "")); break;
      }
    }
    owner_.loop_.receive_once(receive_, socket_);  // until it closes
  }
  void say() {
    if (head_.method() != "GET" && head_.method() != "HEAD")
      return send(answer("405 Method Not Allowed", ""));
    const auto found = owner_.answers_.find(head_.path());
    if (found == owner_.answers_.end()) return send(answer("404 Not Found", ""));
    send(answer("200 OK", found->second));
  }
  // A few hundred bytes on a fresh connection: the kernel has room.
  void send(const std::string& text) {
    answered_ = true;
    static_cast<void>(owner_.loop_.send(socket_, as_bytes(text)));
    owner_.loop_.shutdown_write(socket_);
  }
  void over() { owner_.visits_.erase(*this); }

  HttpProver& owner_;
  io::Socket socket_;
  RequestHead head_{kHeadBytesMax};
  bool answered_ = false;
  io::Op receive_;
  io::Timer deadline_;
};

HttpProver::HttpProver(io::Loop& loop, Log& log)
    : loop_(loop),
      log_(log),
      accept_(io::Op::Handler::to<&HttpProver::on_accepted>(this)),
      pause_(loop, Delegate<void()>::to<&HttpProver::start>(this)),
      told_(loop, Delegate<void()>::to<&HttpProver::on_told>(this)) {}

HttpProver::~HttpProver() { visits_.clear(); }

Status HttpProver::listen(const Address& at) {
  auto listener = loop_.listen_tcp(at, io::ListenOptions{false, 64});
  if (!listener) return std::move(listener).error().with("acme.http_listen " + at.text());
  listener_ = std::move(*listener);
  start();
  return {};
}

void HttpProver::on_accepted(const io::Completion& c) {
  if (c.result >= 0) {
    io::Socket socket = loop_.adopt(c.result);
    if (visits_.size() >= limits::kAcmeChallengeVisitsMax) visits_.erase(*visits_.oldest());
    visits_.add(std::make_unique<HttpVisit>(*this, std::move(socket))).start();
    if (!c.more) start();
    return;
  }
  if (c.result == -ECANCELED) return;
  if (!c.more) pause_.set(loop_.now() + limits::kAcceptPause);
}

void HttpProver::prove(const std::vector<acme::Proof>& proofs, Done done) {
  for (const acme::Proof& p : proofs)
    answers_[std::string(kFolder) + p.token] = p.key_authorization;
  waiting_.push_back(done);
  told_.set(loop_.now());
}

void HttpProver::withdraw(const std::vector<acme::Proof>& proofs) {
  for (const acme::Proof& p : proofs) answers_.erase(std::string(kFolder) + p.token);
}

void HttpProver::on_told() {
  const std::vector<Done> waiting = std::exchange(waiting_, {});
  for (const Done& done : waiting) done({});
}

}  // namespace adit::service

#include "service/agent/http_service.h"

#include <algorithm>

#include "base/limits.h"
#include "route/name.h"

namespace adit::service {

// Whatever comes while nothing is asked, the end above all, ends it.
class HttpService::Idle final : public ListNode<Idle>, private flow::DuplexListener {
 public:
  Idle(HttpService& owner, std::unique_ptr<flow::TcpStream> stream, Instant end)
      : until(end), owner_(owner), stream_(std::move(stream)) {
    stream_->set_listener(this);
    stream_->start();
  }
  ~Idle() {
    if (stream_ != nullptr) stream_->set_listener(nullptr);
  }
  std::unique_ptr<flow::TcpStream> take() {
    stream_->set_listener(nullptr);
    return std::move(stream_);
  }
  bool fresh() { return stream_->readable().empty() && !stream_->at_end() && !stream_->broken(); }

  const Instant until;

 private:
  // Announced also where nothing has come.
  void on_readable() override {
    if (!fresh()) owner_.idle_.erase(*this);
  }
  void on_writable() override {}
  void on_failed(const Error&) override { owner_.idle_.erase(*this); }

  HttpService& owner_;
  std::unique_ptr<flow::TcpStream> stream_;
};

HttpService::HttpService(const HttpSurroundings& around, HostPort to, Duration answer_within)
    : around_(around),
      to_(std::move(to)),
      answer_within_(answer_within),
      timer_(around.loop, Delegate<void()>::to<&HttpService::on_timer>(this)) {}

HttpService::~HttpService() = default;

void HttpService::add_names(const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (std::ranges::find(names_, name) == names_.end()) names_.push_back(name);
}

bool HttpService::has_name(std::string_view host) const {
  return std::ranges::any_of(names_,
                             [host](const std::string& n) { return route::matches(n, host); });
}

// The newest: the others may go.
std::unique_ptr<flow::TcpStream> HttpService::take_idle() {
  while (Idle* newest = idle_.newest()) {
    const std::unique_ptr<Idle> one = idle_.take(*newest);
    if (one->fresh()) return one->take();
  }
  return nullptr;
}

void HttpService::keep(std::unique_ptr<flow::TcpStream> stream) {
  if (idle_.size() >= limits::kServiceIdleConnectionsMax) idle_.erase(*idle_.oldest());
  const Instant until = around_.loop.now() + limits::kServiceIdle;
  idle_.add(std::make_unique<Idle>(*this, std::move(stream), until));
  if (!timer_.armed()) timer_.set(until);
}

void HttpService::on_timer() {
  while (Idle* oldest = idle_.oldest()) {
    if (oldest->until > around_.loop.now()) return timer_.set(oldest->until);
    idle_.erase(*oldest);
  }
}

bool HttpService::enter() {
  if (requests_ >= limits::kServiceRequestsMax) return false;
  ++requests_;
  return true;
}

}  // namespace adit::service

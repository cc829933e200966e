#include "service/agent/pool_member.h"

#include "base/limits.h"

namespace adit::service {

PoolMember::PoolMember(io::Loop& loop, io::Resolver& resolver, PoolOwner& owner,
                       const TcpWayOptions& way, Make make)
    : owner_(owner),
      make_(make),
      way_(loop, resolver, way, Deadline::after(loop.now(), limits::kLinkHandshakeDeadline),
           TcpWay::Done::to<&PoolMember::on_way>(this)),
      deadline_(loop, Delegate<void()>::to<&PoolMember::on_deadline>(this)) {
  deadline_.set(loop.now() + limits::kLinkHandshakeDeadline);
}

// What fails here is said by the timer: the owner may be in the middle of making this.
void PoolMember::on_way(Result<std::unique_ptr<flow::Duplex>> stream) {
  if (stream) link_ = make_(std::move(*stream));
  if (link_ == nullptr) return deadline_.set(Instant{});
  link_->set_listener(this);
}

void PoolMember::on_up() {
  auto frame = owner_.join_frame(*link_);
  if (!frame || !link_->send_control(*frame)) return deadline_.set(Instant{});
  owner_.on_joined(*this, std::move(link_));  // may destroy this
}

}  // namespace adit::service

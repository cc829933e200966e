#include "flow/h2_pool.h"

#include <algorithm>
#include <cerrno>

namespace adit::flow {

namespace {
constexpr std::uint64_t kProtocolViolation = 0x2;  // link::CloseCode::Protocol
}

H2Pool::H2Pool(std::unique_ptr<H2Link> first) {
  for (std::size_t i = 0; i < kPlaces; ++i) {
    places_[i].pool = this;
    places_[i].index = i;
  }
  places_[0].link = std::move(first);
  places_[0].link->set_listener(&places_[0]);
}

H2Pool::~H2Pool() = default;

std::size_t H2Pool::connections() const {
  std::size_t n = 0;
  for (const Place& p : places_) n += p.link != nullptr ? 1 : 0;
  return n;
}

std::unique_ptr<H2Link> H2Pool::release_connection() { return std::move(places_[0].link); }

bool H2Pool::add_connection(std::unique_ptr<H2Link> link) {
  for (Place& p : places_) {
    if (p.link != nullptr || p.spent || closing_) continue;
    p.link = std::move(link);
    p.link->set_listener(&p);
    p.link->forget_handshake({}, 0);  // whose it is has been proven
    return true;
  }
  return false;
}

bool H2Pool::has_streams() const {
  return std::ranges::any_of(places_, [](const Place& p) { return !p.open.empty(); });
}

std::size_t H2Pool::close_spare_connections() {
  std::size_t left = 0;
  for (std::size_t i = 1; i < kPlaces; ++i) {
    Place& p = places_[i];
    if (p.link == nullptr) continue;
    if (p.open.empty()) {
      p.link->close(0, "nobody needs it");  // link::CloseCode::Done
    } else {
      ++left;
    }
  }
  return left;
}

H2Link* H2Pool::link_of(CarrierStream id) const {
  return places_[static_cast<std::size_t>(id) % kPlaces].link.get();
}

H2Pool::Place& H2Pool::place_of(CarrierStream id) {
  return places_[static_cast<std::size_t>(id) % kPlaces];
}

// --- streams -------------------------------------------------------------------------------------

Result<CarrierStream> H2Pool::open_stream() {
  // Where the fewest are, then wherever one can be opened.
  Place* best = nullptr;
  for (Place& p : places_)
    if (p.link != nullptr && (best == nullptr || p.open.size() < best->open.size())) best = &p;
  Result<CarrierStream> last = Error{EAGAIN, "no connection"};
  for (std::size_t i = 0; i < kPlaces; ++i) {
    Place& p = places_[(best->index + i) % kPlaces];
    if (p.link == nullptr) continue;
    last = p.link->open_stream();
    if (!last) continue;
    p.open.emplace(*last, false);
    return outer(p, *last);
  }
  return last;
}

void H2Pool::attach(CarrierStream id, StreamSource* source) {
  if (H2Link* link = link_of(id)) link->attach(inner(id), source);
}

void H2Pool::detach(CarrierStream id) {
  if (H2Link* link = link_of(id)) link->detach(inner(id));
}

void H2Pool::wake(CarrierStream id) {
  if (H2Link* link = link_of(id)) link->wake(inner(id));
}

Bytes H2Pool::readable(CarrierStream id) const {
  const H2Link* link = link_of(id);
  return link != nullptr ? link->readable(inner(id)) : Bytes();
}

void H2Pool::consume(CarrierStream id, std::size_t n) {
  Place& place = place_of(id);
  if (place.link == nullptr) return;
  place.link->consume(inner(id), n);
  const auto at = place.open.find(inner(id));
  const bool over = at != place.open.end() && at->second;
  if (over && place.link->readable(inner(id)).empty()) place.open.erase(at);
}

bool H2Pool::at_end(CarrierStream id) const {
  const H2Link* link = link_of(id);
  return link != nullptr && link->at_end(inner(id));
}

void H2Pool::reset(CarrierStream id, std::uint64_t code) {
  Place& place = place_of(id);
  place.open.erase(inner(id));
  if (place.link != nullptr) place.link->reset(inner(id), code);
}

CarrierStats H2Pool::stats() const {
  CarrierStats out = first().stats();
  for (std::size_t i = 1; i < kPlaces; ++i) {
    if (places_[i].link == nullptr) continue;
    const CarrierStats more = places_[i].link->stats();
    out.bytes_sent += more.bytes_sent;
    out.bytes_received += more.bytes_received;
  }
  return out;
}

// All of them: none may touch a source any more.
void H2Pool::close(std::uint64_t code, std::string_view reason) {
  closing_ = true;
  for (std::size_t i = kPlaces; i-- > 0;)
    if (places_[i].link != nullptr) places_[i].link->close(code, reason);
}

// --- from the connections ------------------------------------------------------------------------

void H2Pool::Place::on_control(Bytes bytes) {
  if (index == 0) return pool->listener_->on_control(bytes);
  pool->close(kProtocolViolation, "control frames on another connection than the first");
}

void H2Pool::Place::on_stream_opened(CarrierStream id) {
  open.emplace(id, false);
  pool->listener_->on_stream_opened(outer(*this, id));
}

void H2Pool::Place::on_stream_readable(CarrierStream id) {
  pool->listener_->on_stream_readable(outer(*this, id));
}

void H2Pool::Place::on_stream_reset(CarrierStream id, std::uint64_t code) {
  open.erase(id);
  pool->listener_->on_stream_reset(outer(*this, id), code);
}

void H2Pool::Place::on_stream_closed(CarrierStream id) {
  if (const auto at = open.find(id); at != open.end()) {
    at->second = true;
    if (link->readable(id).empty()) open.erase(at);
  }
  pool->listener_->on_stream_closed(outer(*this, id));
}

void H2Pool::on_down(Place& place, const CarrierDown& down) {
  if (place.index == 0) return listener_->on_down(down);  // destroys this
  const bool busy = !place.open.empty();
  CarrierDown whole = down;  // it is the connection's, which goes now
  place.link.reset();
  place.spent = busy;
  // The peer's goodbye comes on the first, too.
  if (!busy || closing_ || (whole.application && whole.by_peer)) return;
  whole.reason = "a connection of the link: " + whole.reason;
  listener_->on_down(whole);  // destroys this
}

}  // namespace adit::flow

// A peer's bytes into either end of an HTTP/2 link, in pieces, while the owner does all that an
// owner may do. The first byte chooses the end and the size of the pieces; a server that is to get
// any further than the preface starts with one.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/byte_ring.h"
#include "base/check.h"
#include "proto/h2/connection.h"

namespace adit::h2 {
namespace {

class Source final : public StreamSource {
 public:
  ByteRing ring;
  bool ended = false;
  Bytes peek(std::uint64_t offset) const override { return ring.peek(offset); }
  bool ends_at(std::uint64_t offset) const override { return ended && offset == ring.end(); }
  void acked(std::uint64_t offset) override {
    CHECK(offset <= ring.end());
    ring.release(offset);
  }
};

constexpr std::size_t kStreamWindow = 4096, kConnectionWindow = 65535;

class Owner {
 public:
  Owner(Connection::Role role, Instant now)
      : role_(role), now_(now), connection_(role, settings(), "relay.example", now) {
    if (role == Connection::Role::Server) return;
    for (Source& s : sources_) {
      auto id = connection_.open_stream("/.adit/stream");
      CHECK(id);
      s.ring.append(as_bytes("what the relay has to say"));
      connection_.attach(*id, &s);
    }
  }

  void feed(Bytes bytes) {
    connection_.feed(bytes, now_);
    turn();
    now_ = now_ + 50ms;
    connection_.on_deadline(now_);
  }

 private:
  static Settings settings() {
    Settings s;
    s.stream_window_bytes = kStreamWindow;
    s.connection_window_bytes = kConnectionWindow;
    s.streams_max = 4;
    return s;
  }
  void turn() {
    for (const Event& event : connection_.take_events()) {
      CHECK(!over_);
      if (const auto* opened = std::get_if<StreamOpened>(&event)) {
        CHECK(role_ == Connection::Role::Server);
        if (next_ < std::size(sources_)) connection_.attach(opened->id, &sources_[next_++]);
      } else if (const auto* readable = std::get_if<StreamReadable>(&event)) {
        // Some are read, some are not.
        const Bytes bytes = connection_.readable(readable->id);
        CHECK(bytes.size() <= kConnectionWindow);
        if (readable->id % 4 != 3) connection_.consume(readable->id, bytes.size());
        (void)connection_.at_end(readable->id);
      } else if (const auto* reset = std::get_if<StreamReset>(&event)) {
        connection_.detach(reset->id);
      } else if (const auto* closed = std::get_if<StreamClosed>(&event)) {
        connection_.wake(closed->id);
      } else {
        over_ = true;
      }
    }
    while (!connection_.drain(1024, now_).empty()) {
    }
  }

  const Connection::Role role_;
  Instant now_;
  Source sources_[3];  // outlive the connection
  Connection connection_;
  std::size_t next_ = 0;
  bool over_ = false;
};

}  // namespace
}  // namespace adit::h2

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit;
  if (size == 0) return 0;
  const bool server = (data[0] & 1) != 0;
  const std::size_t piece = std::size_t{1} << (data[0] >> 5) * 2;
  h2::Owner owner(server ? h2::Connection::Role::Server : h2::Connection::Role::Client,
                  Instant{1'000'000'000});
  // RFC 9113 §3.4; what the mutations are about comes behind it.
  if ((data[0] & 2) != 0) owner.feed(as_bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
  Bytes rest(data + 1, size - 1);
  while (!rest.empty()) {
    const std::size_t n = std::min(piece, rest.size());
    owner.feed(rest.first(n));
    rest = rest.subspan(n);
  }
  return 0;
}

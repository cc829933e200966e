// A client's bytes into an HTTP/2 server, in pieces, while its owner does all that an owner may do.
#include <algorithm>
#include <cstdint>
#include <map>

#include "base/check.h"
#include "proto/h2/server.h"

namespace adit::h2 {
namespace {

ServerSettings settings() {
  ServerSettings s;
  s.stream_window_bytes = 4096;
  s.connection_window_bytes = 65535;
  s.streams_max = 4;
  s.head_bytes_max = 1024;
  s.send_bytes = 512;
  return s;
}

class Owner {
 public:
  Owner() : server_(settings()) {}

  void feed(Bytes bytes) {
    server_.feed(bytes);
    for (const ServerEvent& event : server_.take_events()) {
      CHECK(!over_);
      if (const auto* came = std::get_if<RequestCame>(&event)) {
        CHECK(live_.emplace(came->id, 0).second && live_.size() <= 4);
        CHECK(came->too_long || !came->head.method.empty());
        on_request(*came);
      } else if (const auto* body = std::get_if<RequestBody>(&event)) {
        if (body->id % 4 == 1) take(body->id);
      } else if (const auto* room = std::get_if<ResponseRoom>(&event)) {
        CHECK(live_.contains(room->id));
        server_.finish(room->id);
      } else if (const auto* reset = std::get_if<RequestReset>(&event)) {
        CHECK(live_.erase(reset->id) == 1);
        server_.release(reset->id);
      } else {
        over_ = true;
      }
    }
    while (!server_.drain(1024).empty()) {
    }
  }

 private:
  void on_request(const RequestCame& came) {
    const StreamId id = came.id;
    const bool ends = came.head.method == "HEAD";
    if (id % 8 == 3) server_.respond(id, {103, {{"link", "x"}}}, false);
    if (id % 8 != 5) server_.respond(id, {200, {{"a", "b"}}, std::nullopt}, ends);
    const ByteVector body(id % 16 == 1 ? 2000 : 100, 'x');
    CHECK(server_.write(id, body) <= 512);
    if (id % 8 == 3) server_.finish(id);
    if (id % 8 < 4) return;
    server_.release(id);
    live_.erase(id);
  }
  void take(StreamId id) {
    const Bytes bytes = server_.readable(id);
    CHECK(bytes.size() <= 65535);
    server_.consume(id, bytes.size());
    if (server_.at_end(id)) server_.finish(id);
  }

  Server server_;
  std::map<StreamId, int> live_;
  bool over_ = false;
};

}  // namespace
}  // namespace adit::h2

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit;
  if (size == 0) return 0;
  const std::size_t piece = std::size_t{1} << (data[0] >> 5) * 2;
  h2::Owner owner;
  // RFC 9113 §3.4; what the mutations are about comes behind it.
  if ((data[0] & 1) != 0) owner.feed(as_bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
  Bytes rest(data + 1, size - 1);
  while (!rest.empty()) {
    const std::size_t n = std::min(piece, rest.size());
    owner.feed(rest.first(n));
    rest = rest.subspan(n);
  }
  return 0;
}

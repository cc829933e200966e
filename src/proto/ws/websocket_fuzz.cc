// WebSocket frames from any bytes: what comes of them does not depend on how they are cut, and what
// the engine sends is read by the other end without a fault. The first byte says the role and the
// cut.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "proto/ws/connection.h"

namespace adit::ws {
namespace {

struct Outcome {
  ByteVector payload;
  std::size_t messages = 0, pongs = 0;
  int closed = -1, failed = -1;
};

Outcome run(const Settings& settings, Bytes in, std::size_t piece) {
  Connection end(settings);
  Outcome out;
  for (std::size_t at = 0; at < in.size(); at += piece) {
    end.feed(in.subspan(at, std::min(piece, in.size() - at)));
    for (const Event& e : end.take_events()) {
      CHECK(out.closed < 0 && out.failed < 0);
      if (const auto* m = std::get_if<MessagePiece>(&e)) {
        out.payload.insert(out.payload.end(), m->bytes.begin(), m->bytes.end());
        if (m->last) ++out.messages;
      } else if (std::holds_alternative<Pong>(e)) {
        ++out.pongs;
      } else if (const auto* c = std::get_if<PeerClosed>(&e)) {
        out.closed = c->code;
      } else {
        out.failed = static_cast<int>(std::get<Failed>(e).code);
      }
    }
  }
  end.send(Kind::Binary, out.payload);
  Settings other = settings;
  other.role = settings.role == Role::Client ? Role::Server : Role::Client;
  other.message_bytes_max = 0;
  Connection peer(other);
  peer.feed(end.output());
  for (const Event& e : peer.take_events()) CHECK(!std::holds_alternative<Failed>(e));
  return out;
}

}  // namespace
}  // namespace adit::ws

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit;
  using namespace adit::ws;
  if (size == 0) return 0;
  const Bytes in(data + 1, size - 1);
  Settings settings;
  settings.role = (data[0] & 1) != 0 ? Role::Client : Role::Server;
  settings.message_bytes_max = (data[0] & 4) != 0 ? 100 : 0;
  const Outcome whole = run(settings, in, in.size() + 1);
  const Outcome cut = run(settings, in, 1 + data[0] / 8);
  CHECK(whole.payload.size() >= cut.payload.size() || whole.failed >= 0);
  CHECK(whole.messages == cut.messages && whole.pongs == cut.pongs);
  CHECK(whole.closed == cut.closed && whole.failed == cut.failed);
  if (whole.failed < 0) CHECK(whole.payload == cut.payload);
  return 0;
}

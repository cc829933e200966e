// Any bytes as a client's stream: what comes of them does not depend on how they are cut, flows
// stay within their bound, and every answer is a whole frame that reads back. The first byte says
// the cut.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "proto/udpgw/gateway.h"

namespace adit::udpgw {
namespace {

struct Outcome {
  std::size_t opens = 0, sends = 0, closes = 0;
  std::uint64_t skipped = 0;
  ByteVector out;
  bool operator==(const Outcome&) const = default;
};

Outcome run(Bytes in, std::size_t piece) {
  Settings settings;
  settings.flows_max = 4;
  Gateway gateway(settings);
  Outcome o;
  const Instant now{};
  const auto work = [&] {
    for (auto events = gateway.take_events(); !events.empty(); events = gateway.take_events()) {
      for (const Event& e : events) {
        if (const auto* open = std::get_if<Open>(&e)) {
          ++o.opens;
          if (open->target.host().size() % 5 == 4) {
            gateway.failed(open->flow);
          } else {
            gateway.opened(open->flow);
          }
        } else if (const auto* send = std::get_if<Send>(&e)) {
          ++o.sends;
          gateway.received(send->flow, send->datagram, now);
        } else {
          ++o.closes;
        }
      }
    }
    CHECK(gateway.flows() <= settings.flows_max);
  };
  for (std::size_t at = 0; at < in.size(); at += piece) {
    Bytes part = in.subspan(at, std::min(piece, in.size() - at));
    // A byte at a time, so that events are worked off frame by frame in both runs.
    for (std::size_t i = 0; i < part.size(); ++i) {
      gateway.feed(part.subspan(i, 1), now);
      work();
      for (Bytes bytes = gateway.output(); !bytes.empty(); bytes = gateway.output()) {
        const std::size_t n = std::min(piece, bytes.size());
        o.out.insert(o.out.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
        gateway.consume_output(n);
      }
    }
  }
  o.skipped = gateway.skipped();
  return o;
}

void read_back(Bytes out) {
  FrameReader reader;
  while (reader.read(out)) continue;
  CHECK(reader.skipped() == 0 && reader.held() == 0);
}

// The frames alone, fed in pieces.
std::size_t count(Bytes in, std::size_t piece, std::uint64_t& skipped) {
  FrameReader reader;
  std::size_t frames = 0;
  for (std::size_t at = 0; at < in.size(); at += piece) {
    Bytes part = in.subspan(at, std::min(piece, in.size() - at));
    while (reader.read(part)) ++frames;
    CHECK(reader.held() < 2 + 0xffff);
  }
  skipped = reader.skipped();
  return frames;
}

}  // namespace
}  // namespace adit::udpgw

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit;
  using namespace adit::udpgw;
  if (size == 0) return 0;
  const Bytes in(data + 1, size - 1);
  const std::size_t piece = 1 + data[0];
  std::uint64_t whole = 0, cut = 0;
  CHECK(count(in, in.size() + 1, whole) == count(in, piece, cut) && whole == cut);
  const Outcome o = run(in, piece);
  CHECK(o == run(in, 1));
  CHECK(o.skipped == whole);
  read_back(o.out);
  return 0;
}

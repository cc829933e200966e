// Frames, ACK, RESET and preambles from any bytes: the result does not depend on the
// fragmentation, and what was parsed and is written again parses to the same. The first byte says
// how the input is cut.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "base/limits.h"
#include "base/prng.h"
#include "proto/link/frames.h"

namespace adit::link {
namespace {

struct Outcome {
  std::vector<Frame> frames;
  bool good = true;
};

Outcome feed(Bytes in, std::uint64_t seed) {
  Prng prng(seed);
  FrameReader reader;
  Outcome out;
  while (!in.empty()) {
    const std::size_t n =
        seed == 0 ? in.size() : 1 + prng.below(std::min<std::size_t>(in.size(), 40));
    auto frames = reader.feed(in.first(n));
    if (!frames) {
      out.good = false;
      return out;
    }
    for (Frame& f : *frames) out.frames.push_back(std::move(f));
    in = in.subspan(n);
  }
  return out;
}

bool same(const Frame& a, const Frame& b) { return a.type == b.type && a.body == b.body; }

void check_frames(Bytes in, std::uint8_t cut) {
  const Outcome whole = feed(in, 0), pieces = feed(in, cut + 1u);
  CHECK(whole.good == pieces.good);
  // Frames ahead of a fault come only where they were fed ahead of it.
  if (!whole.good) return;
  CHECK(std::equal(whole.frames.begin(), whole.frames.end(), pieces.frames.begin(),
                   pieces.frames.end(), same));
  ByteVector again;
  for (const Frame& f : whole.frames) {
    CHECK(f.body.size() <= limits::kControlFrameBytesMax);
    write_frame(again, static_cast<FrameType>(f.type), f.body);
  }
  const Outcome rewritten = feed(again, 0);
  CHECK(rewritten.good);
  CHECK(std::equal(whole.frames.begin(), whole.frames.end(), rewritten.frames.begin(),
                   rewritten.frames.end(), same));
}

ByteVector body_of(const ByteVector& frame) {
  FrameReader reader;
  auto frames = reader.feed(frame);
  CHECK(frames && frames->size() == 1);
  return frames->front().body;
}

void check_ack(Bytes in) {
  auto entries = parse_ack(in);
  if (!entries) return;
  CHECK(!entries->empty() && entries->size() <= in.size() / 2);
  ByteVector out;
  // Numbers in longer forms than need be become shorter, so it fits a frame where the input did.
  if (in.size() > limits::kControlFrameBytesMax) return;
  write_ack(out, *entries);
  auto again = parse_ack(body_of(out));
  CHECK(again);
  CHECK(std::equal(entries->begin(), entries->end(), again->begin(), again->end(),
                   [](const AckEntry& a, const AckEntry& b) {
                     return a.stream == b.stream && a.handed == b.handed;
                   }));
}

void check_reset(Bytes in) {
  auto entry = parse_reset(in);
  if (!entry) return;
  CHECK(!text(entry->code).empty());
  ByteVector out;
  write_reset(out, *entry);
  auto again = parse_reset(body_of(out));
  CHECK(again && again->stream == entry->stream && again->code == entry->code);
}

void check_preamble(Bytes in) {
  std::size_t used = 0;
  auto preamble = parse_preamble(in, used);
  if (!preamble || !preamble->has_value()) {
    // Then no beginning of it is one either.
    for (std::size_t n = 0; n < std::min<std::size_t>(in.size(), 64); ++n) {
      auto shorter = parse_preamble(in.first(n), used);
      CHECK(!shorter || !shorter->has_value());
    }
    return;
  }
  CHECK(used <= in.size() && used <= limits::kPreambleBytesMax + 8);
  const Preamble& p = **preamble;
  CHECK(p.stream.value != 0 && p.sni.size() <= 255);
  ByteVector out;
  write_preamble(out, p);
  std::size_t used_again = 0;
  auto again = parse_preamble(out, used_again);
  CHECK(again && again->has_value() && used_again == out.size());
  const Preamble& q = **again;
  CHECK(p.stream == q.stream && p.service == q.service && p.resume_offset == q.resume_offset);
  CHECK(p.visitor == q.visitor && p.local == q.local && p.sni == q.sni);
}

}  // namespace
}  // namespace adit::link

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit::link;
  if (size == 0) return 0;
  const adit::Bytes in(data + 1, size - 1);
  check_frames(in, data[0]);
  check_ack(in);
  check_reset(in);
  check_preamble(in);
  return 0;
}

// Bodies in any encoding from any bytes: decoders keep their bounds and do not care how the bytes
// are cut, the fast code agrees with the plain, and what is encoded comes back. The first byte says
// which, and the cut.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "proto/codec/base64.h"
#include "proto/codec/gunzip.h"
#include "proto/codec/zstd.h"

namespace adit::codec {
namespace {

constexpr std::size_t kMost = 100'000;

void try_base64(Bytes in) {
  ByteVector fast(base64_bytes_max(in.size())), plain(fast.size());
  const Base64Decoded a = base64_decode(as_text(in), fast.data());
  const Base64Decoded b = base64_decode_plain(as_text(in), plain.data());
  CHECK(static_cast<bool>(a) == static_cast<bool>(b) && a.size == b.size);
  if (a) {
    fast.resize(a.size);
    plain.resize(b.size);
    CHECK(fast == plain && base64_encode(fast) == as_text(in));
  } else {
    CHECK(a.fault->text() == b.fault->text());
  }
  ByteVector back;
  CHECK(!base64_decode(base64_encode(in), back));
  CHECK(std::equal(back.begin(), back.end(), in.begin(), in.end()));
}

struct Outcome {
  bool failed = false, done = false;
  ByteVector out;
};

Outcome gunzip(Bytes in, std::size_t piece) {
  Gunzip engine(kMost);
  Outcome o;
  for (std::size_t at = 0; at < in.size() && !o.failed; at += piece)
    o.failed = !engine.feed(in.subspan(at, std::min(piece, in.size() - at)), o.out);
  o.done = engine.done();
  CHECK(o.out.size() <= kMost);
  return o;
}

void try_gunzip(Bytes in, std::size_t piece) {
  const Outcome whole = gunzip(in, in.size() + 1), cut = gunzip(in, piece);
  CHECK(whole.failed == cut.failed && whole.done == cut.done);
  if (!whole.failed) CHECK(whole.out == cut.out);
}

void try_zstd(Bytes in) {
  static ZstdDecoder decoder;
  static ZstdEncoder encoder;
  ByteVector out, frame, back;
  if (!decoder.decode(in, kMost, out)) CHECK(out.empty());
  CHECK(out.size() <= kMost);
  CHECK(encoder.encode(in, frame));
  CHECK(decoder.decode(frame, in.size(), back));
  CHECK(std::equal(back.begin(), back.end(), in.begin(), in.end()));
}

}  // namespace
}  // namespace adit::codec

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit;
  if (size == 0) return 0;
  const Bytes in(data + 1, size - 1);
  switch (data[0] % 3) {
    case 0: codec::try_base64(in); break;
    case 1: codec::try_gunzip(in, 1 + data[0] / 3); break;
    default: codec::try_zstd(in);
  }
  return 0;
}

// Whatever the bytes and however they are cut, a HelloReader gives one verdict, at one byte, and
// keeps what it was fed; what it accepts is what its contract says.
//
// Input: byte 0, bits 0 and 1: what the rest is (Shape), bits 2 to 7: longest piece, less one;
// byte 1: seed of the cut, and of the record size where we make the records.

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/prng.h"
#include "proto/tls_hello/hello_reader.h"

namespace adit {
namespace {

// The inner shapes get correct lengths around them, so that mutation reaches the depth.
enum class Shape { Stream, Body, Extensions, Name };

void block16(Writer out, Bytes data) {
  out.u16(static_cast<std::uint16_t>(data.size()));
  out.bytes(data);
}

ByteVector name_extension(Bytes name) {
  ByteVector entry;
  Writer(entry).u8(0);
  block16(Writer(entry), name);
  ByteVector list;
  block16(Writer(list), entry);
  ByteVector out;
  Writer(out).u16(0);
  block16(Writer(out), list);
  return out;
}

ByteVector body_of(Bytes extensions) {
  ByteVector out;
  Writer w(out);
  w.u16(0x0303);
  out.resize(out.size() + 32);
  w.u8(0);
  block16(w, ByteVector{0x13, 0x01});
  w.u8(1);
  w.u8(0);
  block16(w, extensions);
  return out;
}

ByteVector stream_of(Bytes body, std::size_t fragment_max) {
  ByteVector message;
  Writer(message).u8(1);
  Writer(message).u24(static_cast<std::uint32_t>(body.size()));
  Writer(message).bytes(body);
  ByteVector out;
  for (Bytes left(message); !left.empty();) {
    const Bytes fragment = left.first(std::min(fragment_max, left.size()));
    left = left.subspan(fragment.size());
    Writer(out).u8(22);
    Writer(out).u16(0x0301);
    block16(Writer(out), fragment);
  }
  return out;
}

struct Verdict {
  std::size_t fed = 0;  // up to the end of the piece that brought the verdict
  HelloState state = HelloState::Start;
  int code = 0;
  std::string what;
  ClientHello hello;
};

Verdict read(Bytes stream, std::size_t piece_max, Prng* random) {
  HelloReader reader;
  Verdict out;
  while (out.fed < stream.size()) {
    const std::size_t most = std::min(piece_max, stream.size() - out.fed);
    const std::size_t piece = random ? 1 + random->below(most) : most;
    const auto need = reader.feed(stream.subspan(out.fed, piece));
    out.fed += piece;
    CHECK(reader.consumed().size() == out.fed);
    CHECK(out.fed < limits::kHelloBytesMax + piece);
    out.state = reader.state();
    if (!need) {
      CHECK(out.state == HelloState::Failed);
      out.code = need.error().code;
      out.what = need.error().what;
      alert(hello_fault(need.error()));
      break;
    }
    if (*need == HelloReader::Need::Done) {
      out.hello = reader.hello();
      break;
    }
    CHECK(out.state < HelloState::Done);
  }
  CHECK(std::ranges::equal(reader.consumed(), stream.first(out.fed)));
  if (out.state >= HelloState::Done) CHECK(reader.take().size() == out.fed);
  return out;
}

void check_contract(const ClientHello& hello) {
  CHECK(hello.sni.size() <= 253);
  CHECK(!hello.sni.starts_with('.') && !hello.sni.ends_with('.'));
  CHECK(hello.sni.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") ==
        std::string::npos);
  CHECK(hello.alpn.size() <= limits::kAlpnNamesMax);
  for (const auto& name : hello.alpn) {
    CHECK(!name.empty() && name.size() <= 255);
    CHECK(hello.offers(name));
  }
  // A name that was accepted is a fixed point.
  if (hello.sni.empty()) return;
  const auto again = parse_client_hello(body_of(name_extension(as_bytes(hello.sni))));
  CHECK(again && again->sni == hello.sni);
}

void compare(const Verdict& a, const Verdict& b) {
  CHECK(a.state == b.state);
  CHECK(a.code == b.code);
  CHECK(a.what == b.what);
  CHECK(a.hello == b.hello);
}

void run(Shape shape, std::size_t piece_max, std::uint8_t seed, Bytes in) {
  ByteVector name;
  ByteVector body;
  ByteVector stream;
  if (shape == Shape::Stream) {
    stream.assign(in.begin(), in.end());
  } else {
    in = in.first(std::min<std::size_t>(in.size(), 30'000));  // the lengths around it must fit
    if (shape == Shape::Name) in = name = name_extension(in);
    body = shape == Shape::Body ? ByteVector(in.begin(), in.end()) : body_of(in);
    body.shrink_to_fit();  // so that a sanitizer sees a read beyond it
    stream = stream_of(body, seed < 128 ? limits::kHelloBytesMax : seed - 127u);
  }
  const Verdict whole = read(stream, stream.size(), nullptr);
  if (shape != Shape::Stream && stream.size() <= limits::kHelloBytesMax) {
    const auto alone = parse_client_hello(body);
    CHECK(static_cast<bool>(alone) == (whole.state == HelloState::Done));
    if (alone) CHECK(*alone == whole.hello);
  }
  const Verdict bytewise = read(stream, 1, nullptr);
  Prng random(seed);
  compare(whole, bytewise);
  compare(whole, read(stream, piece_max, &random));
  if (whole.state == HelloState::Done) check_contract(whole.hello);
  // The verdict needs what came up to its byte and nothing behind it.
  compare(whole, read(Bytes(stream).first(bytewise.fed), stream.size(), nullptr));
}

}  // namespace
}  // namespace adit

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit;
  if (size < 2) return 0;
  run(static_cast<Shape>(data[0] & 3), 1u + (data[0] >> 2), data[1], Bytes(data, size).subspan(2));
  return 0;
}

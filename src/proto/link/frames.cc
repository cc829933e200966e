#include "proto/link/frames.h"

#include <algorithm>

#include "base/limits.h"

namespace adit::link {

namespace {

// Length of a varint by its first byte (RFC 9000 §16).
std::size_t varint_length(std::uint8_t first) { return std::size_t{1} << (first >> 6); }

// Whether `in` holds the whole varint at its start.
bool has_varint(Bytes in) { return !in.empty() && in.size() >= varint_length(in[0]); }

void write_address(Writer& w, const Address& a) {
  w.bytes(a.ip.bytes);
  w.u16(a.port);
}

Address read_address(Reader& r) {
  Address a;
  const Bytes ip = r.bytes(16);
  if (ip.size() == 16) std::copy(ip.begin(), ip.end(), a.ip.bytes.begin());
  a.port = r.u16();
  return a;
}

Error malformed(std::string_view what) {
  return Error{0, "malformed " + std::string(what)};
}

}  // namespace

std::string_view text(ResetCode code) {
  switch (code) {
    case ResetCode::Cancelled: return "cancelled";
    case ResetCode::ServiceRefused: return "service_refused";
    case ResetCode::UnknownService: return "unknown_service";
    case ResetCode::Overloaded: return "overloaded";
    case ResetCode::Protocol: return "protocol";
    case ResetCode::Lost: return "session_lost";
    case ResetCode::Idle: return "idle";
  }
  return "unknown";
}

Result<std::vector<Frame>> FrameReader::feed(Bytes in) {
  buffer_.insert(buffer_.end(), in.begin(), in.end());
  std::vector<Frame> out;
  std::size_t at = 0;
  for (;;) {
    const Bytes rest = Bytes(buffer_).subspan(at);
    if (!has_varint(rest) || !has_varint(rest.subspan(varint_length(rest[0])))) break;
    Reader r(rest);
    const std::uint64_t type = r.varint();
    const std::uint64_t length = r.varint();
    // Refused by its announced length: nothing is allocated for what a peer only promises.
    if (length > limits::kControlFrameBytesMax) {
      return Error{0, "control frame of " + std::to_string(length) + " bytes, over 64 KiB"};
    }
    const Bytes body = r.bytes(static_cast<std::size_t>(length));
    if (!r.ok()) break;
    out.push_back({type, ByteVector(body.begin(), body.end())});
    at += r.position();
  }
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(at));
  return out;
}

void write_frame(ByteVector& out, FrameType type, Bytes body) {
  CHECK(body.size() <= limits::kControlFrameBytesMax);
  Writer w(out);
  w.varint(static_cast<std::uint64_t>(type));
  w.varint(body.size());
  w.bytes(body);
}

Result<std::vector<AckEntry>> parse_ack(Bytes body) {
  Reader r(body);
  std::vector<AckEntry> out;
  while (r.ok() && r.left() > 0) {
    const StreamNumber stream{r.varint()};
    out.push_back({stream, r.varint()});
  }
  if (!r.ok() || out.empty()) return malformed("ACK");
  return out;
}

void write_ack(ByteVector& out, const std::vector<AckEntry>& entries) {
  ByteVector body;
  Writer w(body);
  for (const AckEntry& e : entries) {
    w.varint(e.stream.value);
    w.varint(e.handed);
  }
  write_frame(out, FrameType::Ack, body);
}

Result<ResetEntry> parse_reset(Bytes body) {
  Reader r(body);
  ResetEntry e;
  e.stream = StreamNumber{r.varint()};
  e.code = static_cast<ResetCode>(r.varint());
  if (!r.done()) return malformed("RESET");
  return e;
}

void write_reset(ByteVector& out, const ResetEntry& entry) {
  ByteVector body;
  Writer w(body);
  w.varint(entry.stream.value);
  w.varint(static_cast<std::uint64_t>(entry.code));
  write_frame(out, FrameType::Reset, body);
}

Result<std::uint64_t> parse_strained(Bytes body) {
  Reader r(body);
  const std::uint64_t rate = r.varint();
  if (!r.ok()) return Error{0, "a malformed STRAINED"};
  return rate;
}

void write_strained(ByteVector& out, std::uint64_t rate) {
  ByteVector body;
  Writer(body).varint(std::min(rate, kVarintMax));
  write_frame(out, FrameType::Strained, body);
}

namespace {
constexpr std::uint8_t kPreambleProbe = 1, kPreambleChallenge = 2;
}  // namespace

void write_preamble(ByteVector& out, const Preamble& p) {
  ByteVector body;
  Writer w(body);
  w.varint(p.stream.value);
  w.varint(p.service.value);
  w.varint(p.resume_offset);
  write_address(w, p.visitor);
  write_address(w, p.local);
  w.varint(p.sni.size());
  w.text(p.sni);
  const int flags = (p.probe ? kPreambleProbe : 0) | (p.challenge ? kPreambleChallenge : 0);
  if (p.visit != 0 || flags != 0) {
    w.u64(p.visit);
    w.u8(static_cast<std::uint8_t>(flags));
  }
  CHECK(body.size() <= limits::kPreambleBytesMax);
  Writer head(out);
  head.varint(body.size());
  head.bytes(body);
}

Result<std::optional<Preamble>> parse_preamble(Bytes in, std::size_t& used) {
  if (!has_varint(in)) return std::optional<Preamble>();
  Reader head(in);
  const std::uint64_t length = head.varint();
  if (length > limits::kPreambleBytesMax) return malformed("preamble: over 1 KiB");
  const Bytes body = head.bytes(static_cast<std::size_t>(length));
  if (!head.ok()) return std::optional<Preamble>();
  Reader r(body);
  Preamble p;
  p.stream = StreamNumber{r.varint()};
  const std::uint64_t service = r.varint();
  p.resume_offset = r.varint();
  p.visitor = read_address(r);
  p.local = read_address(r);
  const Bytes sni = r.bytes(static_cast<std::size_t>(std::min<std::uint64_t>(r.varint(), 4096)));
  if (!r.ok() || service > UINT32_MAX || p.stream.value == 0 || sni.size() > 255)
    return malformed("preamble");
  p.service = ServiceNumber{static_cast<std::uint32_t>(service)};
  p.sni = as_text(sni);
  const std::uint64_t visit = r.u64();
  if (r.ok()) p.visit = visit;
  const std::uint8_t flags = r.u8();
  if (r.ok()) p.probe = (flags & kPreambleProbe) != 0;
  if (r.ok()) p.challenge = (flags & kPreambleChallenge) != 0;
  used = head.position();
  return std::optional<Preamble>(std::move(p));
}

}  // namespace adit::link

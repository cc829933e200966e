#include "proto/udpgw/frames.h"

#include <algorithm>
#include <array>

#include "base/address.h"

namespace adit::udpgw {

namespace {

constexpr std::size_t kLengthBytes = 2;
constexpr std::size_t kHeadBytes = 3;  // FLAGS and CONN_ID
constexpr std::size_t kLengthMax = 0xffff;

std::optional<Target> read_target(Reader& r) {
  const std::uint8_t kind = r.u8();
  std::size_t size = 0;
  switch (kind) {
    case 1: size = 4; break;
    case 3: size = r.u8(); break;
    case 4: size = 16; break;
    default: return std::nullopt;
  }
  Target target;
  target.kind = static_cast<Target::Kind>(kind);
  target.address = as_text(r.bytes(size));
  target.port = r.u16();
  if (!r.ok()) return std::nullopt;
  return target;
}

// `body`: what LEN counts. nullopt: no frame.
std::optional<Frame> parse(Bytes body) {
  Reader r(body);
  Frame frame;
  frame.flags = r.u8();
  frame.id = r.u16();
  if (!r.ok()) return std::nullopt;
  if ((frame.flags & kKeepalive) != 0 || (frame.flags & kData) == 0) return frame;
  frame.target = read_target(r);
  if (!frame.target) return std::nullopt;
  frame.datagram = r.bytes(r.left());
  return frame;
}

}  // namespace

std::string Target::host() const {
  if (kind == Kind::Name) return address;
  const Bytes b = as_bytes(address);
  if (kind == Kind::V4 && b.size() == 4) return IpAddress::v4(b[0], b[1], b[2], b[3]).text();
  IpAddress ip;
  if (kind == Kind::V6 && b.size() == ip.bytes.size())
    std::copy(b.begin(), b.end(), ip.bytes.begin());
  return ip.text();
}

std::optional<Frame> FrameReader::read(Bytes& in) {
  if (give_back_) held_.clear();
  give_back_ = false;
  for (;;) {
    // The length first, from what is held and what came.
    std::array<std::uint8_t, kLengthBytes> length{};
    const std::size_t there = held_.size();
    if (there + in.size() < kLengthBytes) break;
    for (std::size_t i = 0; i < kLengthBytes; ++i)
      length[i] = i < there ? held_[i] : in[i - there];
    const std::size_t whole = kLengthBytes + (std::size_t{length[0]} << 8 | length[1]);
    if (there + in.size() < whole) break;

    Bytes body;
    if (there == 0) {
      body = in.first(whole);
      in = in.subspan(whole);
    } else {
      const Bytes rest = in.first(whole - there);
      held_.insert(held_.end(), rest.begin(), rest.end());
      in = in.subspan(rest.size());
      body = held_;
      give_back_ = true;
    }
    if (auto frame = parse(body.subspan(kLengthBytes))) return frame;
    ++skipped_;
    if (give_back_) held_.clear();
    give_back_ = false;
  }
  held_.insert(held_.end(), in.begin(), in.end());
  in = {};
  return std::nullopt;
}

void write_plain(ByteVector& out, std::uint8_t flags, std::uint16_t id) {
  Writer w(out);
  w.u16(kHeadBytes);
  w.u8(flags);
  w.u16(id);
}

void write_data(ByteVector& out, std::uint16_t id, const Target& target, Bytes datagram) {
  const bool name = target.kind == Target::Kind::Name;
  const std::size_t head = kHeadBytes + 1 + (name ? 1 : 0) + target.address.size() + 2;
  datagram = datagram.first(std::min(datagram.size(), kLengthMax - head));
  Writer w(out);
  w.u16(static_cast<std::uint16_t>(head + datagram.size()));
  w.u8(kData);
  w.u16(id);
  w.u8(static_cast<std::uint8_t>(target.kind));
  if (name) w.u8(static_cast<std::uint8_t>(target.address.size()));
  w.text(target.address);
  w.u16(target.port);
  w.bytes(datagram);
}

}  // namespace adit::udpgw

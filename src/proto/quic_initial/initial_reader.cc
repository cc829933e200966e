#include "proto/quic_initial/initial_reader.h"

#include <algorithm>
#include <cerrno>

#include "base/limits.h"

namespace adit::quic_initial {

namespace {

constexpr std::size_t kCidBytesMax = 20;  // RFC 9000 §17.2, of the versions read here
constexpr std::uint8_t kClientHello = 1;  // RFC 8446 §4
constexpr std::size_t kMessageHeader = 4;

Error bad(int code, std::string_view what) { return Error{code, std::string(what)}; }

// RFC 9000 §17.2 and RFC 9369 §3.2: the two bits behind form and fixed bit.
unsigned initial_type(std::uint32_t version) { return version == kVersion1 ? 0 : 1; }
unsigned retry_type(std::uint32_t version) { return version == kVersion1 ? 3 : 0; }

}  // namespace

std::optional<LongHeader> parse_long_header(Bytes datagram) {
  Reader r(datagram);
  const std::uint8_t first = r.u8();
  LongHeader out;
  out.version = r.u32();
  out.dcid = r.bytes(r.u8());
  out.scid = r.bytes(r.u8());
  if (!r.ok() || (first & 0x80) == 0) return std::nullopt;
  const bool known = out.version == kVersion1 || out.version == kVersion2;
  out.initial = known && (first & 0x40) != 0 && out.dcid.size() <= kCidBytesMax &&
                out.scid.size() <= kCidBytesMax &&
                ((first >> 4) & 3u) == initial_type(out.version);
  return out;
}

Result<InitialReader::Need> InitialReader::feed(Bytes datagram) {
  CHECK(!hello_);
  if (++datagrams_ > limits::kInitialDatagramsMax)
    return bad(EMSGSIZE, "no whole hello within the first datagrams");
  if (auto ok = read_packets(datagram); !ok) return std::move(ok).error();
  if (!authentic_) return bad(EPROTO, "no Initial packet of a client's");
  return look();
}

Status InitialReader::read_packets(Bytes datagram) {
  // Each packet takes some bytes, so this ends.
  while (!datagram.empty()) {
    const auto header = parse_long_header(datagram);
    if (!header || (version_ != 0 && header->version != version_)) return {};
    if (header->version != kVersion1 && header->version != kVersion2) return {};
    const std::uint8_t first = datagram[0];
    if (((first >> 4) & 3u) == retry_type(header->version)) return {};  // it has no length
    Reader r(datagram);
    r.skip(1 + 4 + 1 + header->dcid.size() + 1 + header->scid.size());
    if (header->initial) {
      const std::uint64_t token = r.varint();
      if (token > r.left()) return {};
      r.skip(static_cast<std::size_t>(token));
    }
    const std::uint64_t length = r.varint();
    if (!r.ok() || length > r.left()) return {};
    const std::size_t number_at = r.position();
    const Bytes packet = datagram.first(number_at + static_cast<std::size_t>(length));
    datagram = datagram.subspan(packet.size());
    if (!header->initial) continue;  // 0-RTT, or a Handshake packet that has nothing to do here
    if (!keys_) {
      version_ = header->version;
      dcid_.assign(header->dcid.begin(), header->dcid.end());
      keys_ = client_initial_keys(version_, dcid_);
    } else if (!std::ranges::equal(header->dcid, dcid_)) {
      continue;
    }
    const auto payload = open_packet(*keys_, packet, number_at);
    if (!payload) continue;
    authentic_ = true;
    if (auto ok = read_frames(*payload); !ok) return ok;
  }
  return {};
}

// RFC 9000 §17.2.2: PADDING, PING, ACK, CRYPTO, CONNECTION_CLOSE.
Status InitialReader::read_frames(Bytes payload) {
  Reader r(payload);
  while (r.ok() && r.left() > 0) {
    const std::uint64_t type = r.varint();
    if (type == 0x00 || type == 0x01) continue;
    if (type == 0x06) {
      const std::uint64_t offset = r.varint();
      const std::uint64_t length = r.varint();
      if (!r.ok() || length > r.left()) return bad(EPROTO, "malformed CRYPTO frame");
      if (auto ok = take_crypto(offset, r.bytes(static_cast<std::size_t>(length))); !ok) return ok;
    } else if (type == 0x02 || type == 0x03) {
      r.varint();
      r.varint();
      const std::uint64_t ranges = r.varint();
      r.varint();
      for (std::uint64_t i = 0; i < ranges && r.ok(); ++i) {
        r.varint();
        r.varint();
      }
      if (type == 0x03)
        for (int i = 0; i < 3; ++i) r.varint();
    } else if (type == 0x1c) {
      return bad(EPROTO, "the client has given up");
    } else {
      return bad(EPROTO, "a frame that no Initial packet has");
    }
  }
  if (!r.ok()) return bad(EPROTO, "malformed frame");
  return {};
}

// A byte that comes twice counts the first time, as TLS would have it (RFC 9000 §2.2).
Status InitialReader::take_crypto(std::uint64_t offset, Bytes data) {
  if (offset > limits::kHelloBytesMax || data.size() > limits::kHelloBytesMax - offset)
    return bad(EMSGSIZE, "hello over 16 KiB");
  const auto at = static_cast<std::size_t>(offset);
  if (crypto_.size() < at + data.size()) {
    crypto_.resize(at + data.size());
    here_.resize(at + data.size());
  }
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (here_[at + i]) continue;
    here_[at + i] = true;
    crypto_[at + i] = data[i];
  }
  while (whole_ < here_.size() && here_[whole_]) ++whole_;
  return {};
}

Result<InitialReader::Need> InitialReader::look() {
  if (whole_ >= 1 && crypto_[0] != kClientHello) return bad(EPROTO, "not a ClientHello");
  if (whole_ < kMessageHeader) return Need::More;
  const std::size_t length =
      std::size_t{crypto_[1]} << 16 | std::size_t{crypto_[2]} << 8 | crypto_[3];
  if (length > limits::kHelloBytesMax - kMessageHeader) return bad(EMSGSIZE, "hello over 16 KiB");
  if (whole_ < kMessageHeader + length) return Need::More;
  auto hello = parse_client_hello(Bytes(crypto_).subspan(kMessageHeader, length));
  if (!hello) return bad(EPROTO, hello.error().what);
  hello_ = std::move(*hello);
  return Need::Done;
}

}  // namespace adit::quic_initial

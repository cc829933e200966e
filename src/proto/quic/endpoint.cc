#include "proto/quic/endpoint.h"

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <algorithm>

#include "crypto/init.h"
#include "crypto/random.h"
#include "proto/quic/impl.h"

namespace adit::quic {
namespace {

// A version of the form 0x?a?a?a?a (RFC 9000 §15), which makes clients practise the negotiation.
constexpr std::uint32_t kReservedVersion = 0x1a2a3a4a;

// RFC 9000 §10.3: from 43 bytes on a reset looks like any other packet.
constexpr std::size_t kResetBytesMax = 43;
constexpr std::size_t kResetBytesMin =
    NGTCP2_MIN_STATELESS_RESET_RANDLEN + NGTCP2_STATELESS_RESET_TOKENLEN;

// Stateless resets: a burst for a restart with many peers, then a trickle, so that spoofed packets
// cannot make this host a source of traffic (RFC 9000 §10.3.3).
constexpr std::int64_t kResetBurst = 256;
constexpr Duration kResetEvery = 5ms;

template <class Write>
Verdict answer(Write write) {
  ByteVector out(NGTCP2_MAX_UDP_PAYLOAD_SIZE);
  const ngtcp2_ssize n = write(out.data(), out.size());
  if (n <= 0) return Ignore{};
  out.resize(static_cast<std::size_t>(n));
  return Answer{std::move(out)};
}

bool is_long(Bytes datagram) { return (datagram[0] & 0x80) != 0; }  // RFC 9000 §17.2

}  // namespace

Endpoint::Endpoint(std::uint8_t thread, std::uint8_t threads, Bytes reset_secret)
    : thread_(thread), threads_(threads), reset_secret_(reset_secret.begin(), reset_secret.end()) {
  crypto::init();  // tokens are made before the first connection, and so before the first session
  CHECK(thread < threads);
  CHECK(reset_secret.size() == sizeof(Settings::reset_secret));
}

Verdict Endpoint::sort(const Path& path, Bytes datagram, bool validate_addresses, Instant now) {
  if (datagram.empty()) return Ignore{};
  ngtcp2_version_cid ids{};
  const int rv = ngtcp2_pkt_decode_version_cid(&ids, datagram.data(), datagram.size(),
                                               kConnectionIdBytes);
  const Bytes destination(ids.dcid, ids.dcidlen);
  const Bytes source(ids.scid, ids.scidlen);
  if (rv == NGTCP2_ERR_VERSION_NEGOTIATION) return negotiate_version(destination, source);
  if (rv != 0) return Ignore{};
  if (auto it = ids_.find(ConnectionId::of(destination)); it != ids_.end())
    return ForConnection{it->second};
  // Our ids have one length and name the thread. A client's first id has another one if the client
  // is ours; a stranger's of this length finds its way by the same rule, always to the same thread.
  if (destination.size() == kConnectionIdBytes && destination[0] != thread_ &&
      destination[0] < threads_)
    return OtherThread{destination[0]};
  if (!is_long(datagram)) return reset(destination, datagram.size(), now);
  // RFC 9000 §6.1, §17.2.1: a Version Negotiation packet is never answered.
  if (ids.version == 0) return Ignore{};
  // The library knows version 2, which this program does not speak.
  if (ids.version != NGTCP2_PROTO_VER_V1)
    return datagram.size() < NGTCP2_MAX_UDP_PAYLOAD_SIZE
               ? Verdict(Ignore{})
               : negotiate_version(destination, source);
  return sort_initial(path, datagram, validate_addresses, now);
}

bool Endpoint::knows(Bytes datagram) const {
  if (datagram.empty()) return false;
  ngtcp2_version_cid ids{};
  const int rv = ngtcp2_pkt_decode_version_cid(&ids, datagram.data(), datagram.size(),
                                               kConnectionIdBytes);
  return rv == 0 && ids_.contains(ConnectionId::of(Bytes(ids.dcid, ids.dcidlen)));
}

Verdict Endpoint::negotiate_version(Bytes destination, Bytes source) const {
  const std::uint32_t versions[] = {kReservedVersion, NGTCP2_PROTO_VER_V1};
  const auto unused_bits = static_cast<std::uint8_t>(crypto::random_u64());
  return answer([&](std::uint8_t* out, std::size_t size) {
    return ngtcp2_pkt_write_version_negotiation(
        out, size, unused_bits, source.data(), source.size(), destination.data(),
        destination.size(), versions, std::size(versions));
  });
}

Verdict Endpoint::sort_initial(const Path& path, Bytes datagram, bool validate_addresses,
                               Instant now) const {
  ngtcp2_pkt_hd header;
  // RFC 9000 §14.1, §7.2: from 1200 bytes on, with an id of 8 bytes and more.
  if (ngtcp2_accept(&header, datagram.data(), datagram.size()) != 0) return Ignore{};
  ngtcp2_path_storage on;
  set_path(on, path);
  const ngtcp2_addr& client = on.path.remote;
  if (header.tokenlen > 0 && header.token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2) {
    ngtcp2_cid original;
    const int rv = ngtcp2_crypto_verify_retry_token2(
        &original, header.token, header.tokenlen, reset_secret_.data(), reset_secret_.size(),
        header.version, client.addr, client.addrlen, &header.dcid,
        static_cast<ngtcp2_duration>(kRetryTokenLifetime.count()), timestamp(now));
    if (rv == 0) return NewConnection{};
    // RFC 9000 §8.1.3: the client accepts no second Retry, so it is told at once.
    return answer([&](std::uint8_t* out, std::size_t size) {
      return ngtcp2_crypto_write_connection_close(out, size, header.version, &header.scid,
                                                  &header.dcid, NGTCP2_INVALID_TOKEN, nullptr, 0);
    });
  }
  if (!validate_addresses) return NewConnection{};
  ngtcp2_cid ours;
  std::array<std::uint8_t, kConnectionIdBytes> chosen;
  crypto::random_bytes(chosen);
  chosen[0] = thread_;
  set_cid(ours, chosen);
  std::array<std::uint8_t, NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2> token;
  const ngtcp2_ssize n = ngtcp2_crypto_generate_retry_token2(
      token.data(), reset_secret_.data(), reset_secret_.size(), header.version, client.addr,
      client.addrlen, &ours, &header.dcid, timestamp(now));
  if (n < 0) return Ignore{};
  return answer([&](std::uint8_t* out, std::size_t size) {
    return ngtcp2_crypto_write_retry(out, size, header.version, &header.scid, &ours, &header.dcid,
                                     token.data(), static_cast<std::size_t>(n));
  });
}

Verdict Endpoint::reset(Bytes destination, std::size_t received_bytes, Instant now) {
  // RFC 9000 §10.3.3: shorter than what it answers, or two endpoints could keep each other busy.
  const std::size_t longest = std::min(received_bytes - 1, kResetBytesMax);
  if (longest < kResetBytesMin || !take_reset_token(now)) return Ignore{};
  ngtcp2_cid id;
  set_cid(id, destination);
  std::array<std::uint8_t, NGTCP2_STATELESS_RESET_TOKENLEN> token;
  if (ngtcp2_crypto_generate_stateless_reset_token(token.data(), reset_secret_.data(),
                                                   reset_secret_.size(), &id) != 0)
    return Ignore{};
  std::array<std::uint8_t, kResetBytesMax> noise;
  crypto::random_bytes(noise);
  return answer([&](std::uint8_t* out, std::size_t) {
    return ngtcp2_pkt_write_stateless_reset(out, longest, token.data(), noise.data(),
                                            longest - token.size());
  });
}

bool Endpoint::take_reset_token(Instant now) {
  // As many tokens as intervals lie between then and now: the bucket is a point in time.
  const Instant full{now.ns - (kResetBurst * kResetEvery).count()};
  resets_until_ = std::max(resets_until_, full);
  if (resets_until_ + kResetEvery > now) return false;
  resets_until_ = resets_until_ + kResetEvery;
  return true;
}

void Endpoint::add(Connection& c) {
  of_.try_emplace(&c);
  update(c);
}

void Endpoint::update(Connection& c) {
  auto owned = of_.find(&c);
  CHECK(owned != of_.end());
  for (const auto& change : c.take_id_changes()) {
    if (!change.added) {
      if (auto it = ids_.find(change.id); it != ids_.end() && it->second == &c) ids_.erase(it);
      std::erase(owned->second, change.id);
    } else if (ids_.emplace(change.id, &c).second) {
      // A client's own choice may be another connection's id: that one keeps it.
      owned->second.push_back(change.id);
    }
  }
}

void Endpoint::remove(Connection& c) {
  auto owned = of_.find(&c);
  if (owned == of_.end()) return;
  for (const ConnectionId& id : owned->second) ids_.erase(id);
  of_.erase(owned);
}

std::size_t Endpoint::size() const { return of_.size(); }

}  // namespace adit::quic

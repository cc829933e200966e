// A peer that finished the handshake and then sends what it must not: each ends in the error that
// the RFC names, never in the end of this process.
#include <gtest/gtest.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <algorithm>

#include "proto/quic/impl.h"
#include "proto/quic/test_link.h"

namespace adit::quic {
namespace {

// Takes the place of the frames of the next packet that is long enough. The library calls encrypt
// without user data, hence the global.
ByteVector forged;
bool forge_short_only = false;  // only in 1-RTT packets (RFC 9000 §17.3)

int forge(std::uint8_t* out, const ngtcp2_crypto_aead* aead, const ngtcp2_crypto_aead_ctx* context,
          const std::uint8_t* in, std::size_t size, const std::uint8_t* nonce,
          std::size_t nonce_size, const std::uint8_t* header, std::size_t header_size) {
  ByteVector plain(in, in + size);
  const bool wanted = !forge_short_only || (header[0] & 0x80) == 0;
  if (wanted && !forged.empty() && size >= forged.size()) {
    std::fill(plain.begin(), plain.end(), std::uint8_t{0});
    std::copy(forged.begin(), forged.end(), plain.begin());
    forged.clear();
  }
  return ngtcp2_crypto_encrypt_cb(out, aead, context, plain.data(), size, nonce, nonce_size, header,
                                  header_size);
}

struct HostileCase {
  const char* what;
  ByteVector frames;
  std::uint64_t code;  // 0: nothing happens
};

class HostilePeer : public testing::Test {
 protected:
  // The client of `link` forges.
  void meet(TestLink& link) {
    hostile_ = library_callbacks(false);
    hostile_.encrypt = forge;
    auto impl = std::make_unique<Connection::Impl>(test_settings(7), false, std::uint8_t{0});
    impl->callbacks = &hostile_;
    ASSERT_TRUE(impl->start_client(contexts().client, "relay.test", client_path(), link.now));
    link.client.connection = std::make_unique<Connection>(std::move(impl));
    ASSERT_TRUE(link.handshake());
    link.run_for(500ms);
  }

 private:
  ngtcp2_callbacks hostile_;
};

TEST_F(HostilePeer, FramesEndInTheRightError) {
  const HostileCase cases[] = {
      {"PING", {0x01}, 0},
      {"TLS KeyUpdate (RFC 9001 §6)", {0x06, 0, 5, 24, 0, 0, 1, 1}, 0x10a},
      {"TLS Finished once more", {0x06, 0, 5, 20, 0, 0, 1, 1}, 0x10a},
      {"session ticket from a client", {0x06, 0, 5, 4, 0, 0, 1, 0}, 0x10a},
      {"stream beyond the limit", {0x0a, 0x80, 1, 0, 0, 1, 0}, 0x4},
      {"a unidirectional stream", {0x0a, 2, 1, 0}, 0x4},
      {"the largest stream number", {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc, 1, 0},
       0x4},
      {"beyond the stream's window", {0x0e, 0, 0x80, 0x20, 0, 0, 1, 0}, 0x3},
      {"beyond 2^62", {0x0e, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0}, 0x3},
      {"two final sizes", {0x0b, 0, 2, 7, 7, 0x0b, 0, 1, 7}, 0x6},
      {"bytes behind the end", {0x0b, 0, 1, 7, 0x0e, 0, 4, 1, 7}, 0x6},
      {"reset below what came", {0x0a, 0, 3, 7, 7, 7, 0x04, 0, 1, 1}, 0x6},
      {"data on a stream of ours that is not open", {0x0a, 1, 1, 7}, 0x5},
      {"STOP_SENDING likewise", {0x05, 1, 1}, 0x5},
      {"MAX_STREAM_DATA likewise", {0x11, 1, 1}, 0x5},
      {"an unknown frame", {0x21}, 0x7},
      {"RESET_STREAM of a stream never opened", {0x04, 0, 1, 0}, 0},
      {"HANDSHAKE_DONE from a client", {0x1e}, 0xa},
      {"NEW_TOKEN from a client", {0x07, 1, 1}, 0xa},
      {"ACK of what was never sent", {0x02, 0x80, 0xff, 0xff, 0xff, 0, 0, 0}, 0xa},
      {"retiring an id never given", {0x19, 0x40, 0x99}, 0xa},
      {"more streams than there are", {0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 0x7},
      {"PATH_RESPONSE out of nowhere", {0x1b, 1, 2, 3, 4, 5, 6, 7, 8}, 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    TestLink link(40);
    meet(link);
    forged = c.frames;
    ASSERT_TRUE(link.client.connection->send_datagram(ByteVector(200)));
    link.run_for(300ms);
    EXPECT_TRUE(forged.empty());
    forged.clear();
    const Closed* closed = link.server.first<Closed>();
    if (c.code == 0) {
      EXPECT_EQ(closed, nullptr) << closed->code << " " << closed->reason;
      continue;
    }
    ASSERT_NE(closed, nullptr);
    EXPECT_EQ(closed->code, c.code) << closed->reason;
    EXPECT_FALSE(closed->by_peer);
    EXPECT_FALSE(closed->application);
    // And it was told.
    ASSERT_NE(link.client.first<Closed>(), nullptr);
    EXPECT_EQ(link.client.first<Closed>()->code, c.code);
    EXPECT_TRUE(link.client.first<Closed>()->by_peer);
  }
}

// A server that retires the client's first id in the datagram that ends the handshake: legal, and
// the library's client would abort.
TEST(HostileServer, RetiringAtOnceIsSurvived) {
  ngtcp2_callbacks hostile = library_callbacks(true);
  hostile.encrypt = forge;
  TestLink link(41);
  link.make_server = [&](Bytes initial, const Path& path) {
    auto impl = std::make_unique<Connection::Impl>(test_settings(8), true, std::uint8_t{0});
    impl->callbacks = &hostile;
    CHECK(impl->start_server(contexts().server, initial, path, link.now));
    return std::make_unique<Connection>(std::move(impl));
  };
  link.start();
  forged = {0x18, 1, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8};
  forged.resize(forged.size() + 16, 9);
  forge_short_only = true;
  link.run_for(5s);
  EXPECT_TRUE(forged.empty());
  forged.clear();
  forge_short_only = false;
  EXPECT_TRUE(link.client.connection->handshake_done());
}

}  // namespace
}  // namespace adit::quic

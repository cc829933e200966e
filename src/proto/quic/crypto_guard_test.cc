#include "proto/quic/crypto_guard.h"

#include <gtest/gtest.h>

namespace adit::quic {
namespace {

using Level = CryptoGuard::Level;

struct GuardCase {
  const char* what;
  bool at_server;
  Level level;
  ByteVector bytes;
  bool allowed;
};

TEST(QuicCryptoGuard, Table) {
  const GuardCase cases[] = {
      {"ClientHello", true, Level::Initial, {1, 0, 0, 2, 9, 9}, true},
      {"Certificate, CertificateVerify, Finished", true, Level::Handshake,
       {11, 0, 0, 1, 0, 15, 0, 0, 0, 20, 0, 0, 3, 1, 2, 3}, true},
      {"KeyUpdate behind Finished", true, Level::Handshake, {20, 0, 0, 1, 7, 24, 0, 0, 1, 1},
       false},
      {"anything behind Finished", false, Level::Handshake, {20, 0, 0, 1, 7, 4, 0, 0, 0}, false},
      {"KeyUpdate in the handshake", false, Level::Handshake, {24, 0, 0, 1, 1}, false},
      {"KeyUpdate first of all", true, Level::Initial, {24, 0, 0, 1, 1}, false},
      {"its number inside a body", true, Level::Initial, {1, 0, 0, 5, 24, 0, 0, 1, 1}, true},
      {"ticket to a client", false, Level::Application, {4, 0, 0, 1, 0, 4, 0, 0, 0}, true},
      {"ticket to a server", true, Level::Application, {4, 0, 0, 1, 0}, false},
      {"KeyUpdate to a server", true, Level::Application, {24, 0, 0, 1, 1}, false},
      {"KeyUpdate to a client", false, Level::Application, {24, 0, 0, 1, 1}, false},
      {"KeyUpdate behind a ticket", false, Level::Application, {4, 0, 0, 1, 0, 24, 0, 0, 1, 1},
       false},
      {"CertificateRequest", false, Level::Application, {13, 0, 0, 0}, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    EXPECT_EQ(CryptoGuard(c.at_server).allows(c.level, c.bytes), c.allowed);
    CryptoGuard byte_by_byte(c.at_server);
    bool allowed = true;
    for (std::uint8_t b : c.bytes) allowed = allowed && byte_by_byte.allows(c.level, {&b, 1});
    EXPECT_EQ(allowed, c.allowed);
  }
}

}  // namespace
}  // namespace adit::quic

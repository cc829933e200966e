#include "proto/tls_hello/tls_alert.h"

#include <gtest/gtest.h>

namespace adit {
namespace {

TEST(TlsAlert, IsOneWholeRecord) {
  const std::array<std::uint8_t, 7> unrecognized_name = {0x15, 3, 3, 0, 2, 2, 0x70};
  EXPECT_EQ(fatal_alert(TlsAlert::UnrecognizedName), unrecognized_name);
  EXPECT_EQ(fatal_alert(112), unrecognized_name);
}

// RFC 8446 §6, RFC 7301 §3.2: the registry's numbers.
TEST(TlsAlert, NumbersAreTheRegistrys) {
  const std::pair<TlsAlert, int> table[] = {
      {TlsAlert::UnexpectedMessage, 10}, {TlsAlert::RecordOverflow, 22},
      {TlsAlert::IllegalParameter, 47},  {TlsAlert::AccessDenied, 49},
      {TlsAlert::DecodeError, 50},       {TlsAlert::ProtocolVersion, 70},
      {TlsAlert::InternalError, 80},     {TlsAlert::UserCanceled, 90},
      {TlsAlert::UnrecognizedName, 112}, {TlsAlert::NoApplicationProtocol, 120},
  };
  for (const auto& [description, number] : table) EXPECT_EQ(fatal_alert(description)[6], number);
}

}  // namespace
}  // namespace adit

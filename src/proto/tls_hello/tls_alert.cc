#include "proto/tls_hello/tls_alert.h"

namespace adit {

std::array<std::uint8_t, 7> fatal_alert(std::uint8_t description) {
  constexpr std::uint8_t kAlertRecord = 21;
  constexpr std::uint8_t kFatal = 2;
  return {kAlertRecord, 3, 3, 0, 2, kFatal, description};
}

}  // namespace adit

// Says for whom packets are decrypted while a datagram is read; see callbacks.cc.
#pragma once

#include <vector>

#include "proto/quic/connection.h"

namespace adit::quic {

class ScanScope {
 public:
  // `refuse_retirement`: a packet that retires ids is treated as one that was lost.
  ScanScope(std::vector<StreamStopped>& stopped, bool refuse_retirement);
  ~ScanScope();
  ScanScope(const ScanScope&) = delete;
  ScanScope& operator=(const ScanScope&) = delete;
};

}  // namespace adit::quic

// Finds in a packet's plaintext what the library does not tell, or does not survive.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "proto/quic/connection.h"

namespace adit::quic {

struct FrameFindings {
  // STOP_SENDING: the library acts on it (it resets the stream) but has no callback for it, and a
  // sender that waits for flow-control credit would never learn of it.
  std::vector<StreamStopped> stopped;
  // NEW_CONNECTION_ID that asks to retire ids in use. The library aborts the process when it
  // reaches a client between the end of TLS and the next packet written.
  bool retires_ids = false;
};

// Adds what the frames of one 1-RTT packet (RFC 9000 §12.4, §19; RFC 9221 §4) say; ends at the
// first frame that it does not understand: the library then closes the connection for it.
void scan_frames(Bytes payload, FrameFindings& out);

}  // namespace adit::quic

#include "proto/quic/frame_scan.h"

namespace adit::quic {
namespace {

void skip_varints(Reader& in, unsigned n) {
  while (n-- > 0) in.varint();
}

void skip_ack(Reader& in, bool ecn) {
  skip_varints(in, 2);  // largest acknowledged, delay
  const std::uint64_t ranges = in.varint();
  in.varint();  // first range
  // Each range takes two bytes at least, so a wrong count ends at the packet's end.
  for (std::uint64_t i = 0; i < ranges && in.ok(); ++i) skip_varints(in, 2);
  if (ecn) skip_varints(in, 3);
}

void skip_counted(Reader& in) {
  const std::uint64_t n = in.varint();
  if (n > in.left()) return in.skip(in.left() + 1);
  in.skip(static_cast<std::size_t>(n));
}

void skip_stream(Reader& in, std::uint64_t type) {
  in.varint();                        // stream
  if ((type & 0x04) != 0) in.varint();  // offset
  if ((type & 0x02) != 0) return skip_counted(in);
  in.skip(in.left());                 // without a length it fills the packet
}

bool retires_ids(Reader& in) {
  in.varint();  // sequence number
  const bool retires = in.varint() > 0;
  const std::uint8_t length = in.u8();
  in.skip(length);
  in.skip(16);  // stateless reset token
  return retires;
}

// False where the frame is unknown, or ends the connection anyway.
bool skip_frame(Reader& in, std::uint64_t type) {
  if (type >= 0x08 && type <= 0x0f) return skip_stream(in, type), true;
  switch (type) {
    case 0x00: case 0x01: case 0x1e: return true;             // PADDING, PING, HANDSHAKE_DONE
    case 0x02: case 0x03: return skip_ack(in, type == 0x03), true;
    case 0x04: return skip_varints(in, 3), true;              // RESET_STREAM
    case 0x06: return in.varint(), skip_counted(in), true;    // CRYPTO
    case 0x07: return skip_counted(in), true;                 // NEW_TOKEN
    // MAX_STREAM_DATA, STREAM_DATA_BLOCKED
    case 0x11: case 0x15: return skip_varints(in, 2), true;
    case 0x10: case 0x12: case 0x13: case 0x14: case 0x16: case 0x17: case 0x19:
      return in.varint(), true;                               // one number each
    case 0x1a: case 0x1b: return in.skip(8), true;            // PATH_CHALLENGE, PATH_RESPONSE
    case 0x30: return in.skip(in.left()), true;               // DATAGRAM to the packet's end
    case 0x31: return skip_counted(in), true;
    default: return false;
  }
}

}  // namespace

void scan_frames(Bytes payload, FrameFindings& out) {
  Reader in(payload);
  while (in.ok() && in.left() > 0) {
    const std::uint64_t type = in.varint();
    if (type == 0x05) {  // STOP_SENDING
      const std::uint64_t stream = in.varint();
      const std::uint64_t code = in.varint();
      if (in.ok()) out.stopped.push_back({static_cast<QuicStream>(stream), code});
    } else if (type == 0x18) {  // NEW_CONNECTION_ID
      out.retires_ids |= retires_ids(in);
    } else if (!skip_frame(in, type)) {
      return;
    }
  }
}

}  // namespace adit::quic

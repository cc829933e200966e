// One end of a WebSocket connection (RFC 6455) behind its opening handshake, as an engine without
// I/O: received bytes in, pieces of messages and bytes to send out. Pings are answered here.
//
//   received bytes --> feed() --> take_events()
//   send(), ping(), close() --> output(), consume_output()
//
// Calls never call back. Extensions are not negotiated.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "proto/ws/utf8.h"

namespace adit::ws {

enum class Role : std::uint8_t { Client, Server };
enum class Kind : std::uint8_t { Text, Binary };

// RFC 6455 §7.4.1.
enum class CloseCode : std::uint16_t {
  Normal = 1000,
  GoingAway = 1001,
  Protocol = 1002,
  Unsupported = 1003,
  None = 1005,  // the CLOSE frame had no code; never sent
  InvalidPayload = 1007,
  TooBig = 1009,
  InternalError = 1011,
};

struct Settings {
  Role role = Role::Server;
  // Of a message; more is answered with 1009. 0: no bound, for those who take pieces as they come.
  std::size_t message_bytes_max = 0;
};

// A piece of a message, in order; a message has at least one.
struct MessagePiece {
  Kind kind = Kind::Binary;
  bool last = false;
  ByteVector bytes;
};
struct Pong { ByteVector payload; };
// The peer's direction is over; the last event. To be answered by close() when what answers the
// messages before it is sent: RFC 6455 §5.5.1 lets an end put off its CLOSE so.
struct PeerClosed {
  std::uint16_t code = 0;
  std::string reason;
};
// The peer broke the protocol, and nothing more is read; the last event. To be answered by close()
// with this code.
struct Failed {
  CloseCode code = CloseCode::Protocol;
  std::string reason;
};
using Event = std::variant<MessagePiece, Pong, PeerClosed, Failed>;

class Connection {
 public:
  explicit Connection(const Settings& settings) : settings_(settings) {}

  // Takes all of it.
  void feed(Bytes in);
  std::vector<Event> take_events() { return std::exchange(events_, {}); }

  // Each is one frame, FIN set, of any size. Nothing after close().
  void send(Kind kind, Bytes payload);
  void ping(Bytes payload);  // 125 bytes at most
  // Our direction ends; `reason`: 123 bytes at most, UTF-8. CloseCode::None: without either.
  void close(CloseCode code, std::string_view reason);

  // What is to be sent; valid until the next call that is not const.
  Bytes output() const { return Bytes(out_).subspan(out_at_); }
  void consume_output(std::size_t n);

  bool peer_closed() const { return !reading_; }
  bool closed() const { return close_sent_; }
  // Both directions are over: the transport may be closed when the output is sent. The server does
  // it (RFC 6455 §7.1.1).
  bool done() const { return !reading_ && close_sent_; }

 private:
  struct Frame {
    std::uint8_t opcode = 0;
    bool fin = false;
    bool masked = false;
    std::uint64_t length = 0, at = 0;
    std::array<std::uint8_t, 4> mask{};
  };

  Bytes take_head(Bytes in);
  std::size_t head_bytes() const;
  bool begin_frame();
  Bytes take_payload(Bytes in);
  void take_data(Bytes in);
  void end_frame();
  void end_control();
  void end_close();
  void write_frame(std::uint8_t opcode, Bytes payload);
  void pong(Bytes payload);
  void fail(CloseCode code, std::string_view reason);
  bool message_open() const { return in_message_; }

  const Settings settings_;
  std::vector<Event> events_;

  // --- receiving ---
  bool reading_ = true;
  std::array<std::uint8_t, 14> head_{};
  std::size_t head_at_ = 0;
  bool in_payload_ = false;
  Frame frame_;
  ByteVector control_;         // payload of a control frame, 125 bytes at most
  bool in_message_ = false;    // fragments of it are to come
  Kind kind_ = Kind::Binary;   // of the message
  std::uint64_t message_bytes_ = 0;
  Utf8Check text_;

  // --- sending ---
  bool close_sent_ = false;
  ByteVector out_;
  std::size_t out_at_ = 0;
  std::array<std::uint8_t, 256> keys_{};  // random, for masks
  std::size_t keys_at_ = 256;
};

}  // namespace adit::ws

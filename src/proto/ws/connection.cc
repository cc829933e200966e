#include "proto/ws/connection.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "crypto/random.h"

namespace adit::ws {

namespace {

// RFC 6455 §5.2.
constexpr std::uint8_t kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10;
constexpr std::uint8_t kFin = 0x80, kReserved = 0x70, kOpcode = 0x0f, kMasked = 0x80;
constexpr std::size_t kControlPayloadMax = 125;
// A peer that sends pings and reads nothing gets no more answers than this holds; §5.5.3 lets an
// end answer the newest only.
constexpr std::size_t kPongOutputMax = 64 * 1024;

bool is_control(std::uint8_t opcode) { return (opcode & 8) != 0; }

bool is_known(std::uint8_t opcode) {
  return opcode <= kBinary || (opcode >= kClose && opcode <= kPong);
}

// RFC 6455 §7.4: what an end may put into a CLOSE frame.
bool may_be_sent(std::uint16_t code) {
  if (code >= 3000 && code <= 4999) return true;
  return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

// XOR with the mask, whose first byte is for the byte at `at` of the payload; eight at a time.
void apply_mask(std::uint8_t* to, Bytes from, const std::array<std::uint8_t, 4>& mask,
                std::uint64_t at) {
  std::array<std::uint8_t, 8> key;
  for (std::size_t i = 0; i < 8; ++i) key[i] = mask[(at + i) & 3];
  std::uint64_t word = 0;
  std::memcpy(&word, key.data(), 8);
  std::size_t i = 0;
  for (; i + 8 <= from.size(); i += 8) {
    std::uint64_t v = 0;
    std::memcpy(&v, from.data() + i, 8);
    v ^= word;
    std::memcpy(to + i, &v, 8);
  }
  for (; i < from.size(); ++i) to[i] = static_cast<std::uint8_t>(from[i] ^ key[i & 7]);
}

}  // namespace

// --- receiving -----------------------------------------------------------------------------------

void Connection::feed(Bytes in) {
  while (reading_ && !in.empty()) in = in_payload_ ? take_payload(in) : take_head(in);
}

// Of the head as far as it is known.
std::size_t Connection::head_bytes() const {
  if (head_at_ < 2) return 2;
  const std::uint8_t length = head_[1] & 0x7f;
  const std::size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
  return 2 + extended + ((head_[1] & kMasked) != 0 ? 4 : 0);
}

Bytes Connection::take_head(Bytes in) {
  for (std::size_t want = head_bytes(); head_at_ < want; want = head_bytes()) {
    const std::size_t n = std::min(want - head_at_, in.size());
    if (n == 0) return in;
    std::copy_n(in.begin(), n, head_.begin() + static_cast<std::ptrdiff_t>(head_at_));
    head_at_ += n;
    in = in.subspan(n);
    // A head that cannot be right is not waited for.
    if (head_at_ == 2 && !begin_frame()) return {};
  }
  Reader r(Bytes(head_).first(head_at_));
  r.skip(1);
  const std::uint8_t length = r.u8() & 0x7f;
  frame_.length = length == 126 ? r.u16() : length == 127 ? r.u64() : length;
  if (frame_.masked) std::ranges::copy(r.bytes(4), frame_.mask.begin());
  head_at_ = 0;
  const std::uint64_t least = length < 126 ? 0 : length == 126 ? 126 : 0x10000;
  const bool minimal = frame_.length >= least;
  if (!minimal || (frame_.length >> 63) != 0)
    return fail(CloseCode::Protocol, "a length in a form that is not for it"), Bytes{};
  if (!is_control(frame_.opcode) && settings_.message_bytes_max != 0 &&
      frame_.length > settings_.message_bytes_max - message_bytes_)
    return fail(CloseCode::TooBig, "the message is too big"), Bytes{};
  frame_.at = 0;
  in_payload_ = true;
  if (frame_.length == 0) end_frame();
  return in;
}

// The first two bytes of the head are there.
bool Connection::begin_frame() {
  frame_ = {};
  frame_.opcode = head_[0] & kOpcode;
  frame_.fin = (head_[0] & kFin) != 0;
  frame_.masked = (head_[1] & kMasked) != 0;
  const auto wrong = [this](std::string_view why) {
    fail(CloseCode::Protocol, why);
    return false;
  };
  if ((head_[0] & kReserved) != 0) return wrong("a reserved bit is set");
  if (!is_known(frame_.opcode)) return wrong("an unknown opcode");
  if (frame_.masked != (settings_.role == Role::Server))
    return wrong(frame_.masked ? "a server's frame is masked" : "a client's frame is not masked");
  if (is_control(frame_.opcode)) {
    if (!frame_.fin) return wrong("a control frame is fragmented");
    if ((head_[1] & 0x7f) > kControlPayloadMax) return wrong("a control frame is too long");
    control_.clear();
    return true;
  }
  if (frame_.opcode == kContinuation)
    return in_message_ || wrong("a continuation of no message");
  if (in_message_) return wrong("a new message inside another");
  in_message_ = true;
  kind_ = frame_.opcode == kText ? Kind::Text : Kind::Binary;
  message_bytes_ = 0;
  text_ = {};
  return true;
}

Bytes Connection::take_payload(Bytes in) {
  const auto n =
      static_cast<std::size_t>(std::min<std::uint64_t>(in.size(), frame_.length - frame_.at));
  take_data(in.first(n));
  if (reading_ && frame_.at == frame_.length) end_frame();
  return in.subspan(n);
}

void Connection::take_data(Bytes in) {
  ByteVector bytes(in.size());
  if (frame_.masked) {
    apply_mask(bytes.data(), in, frame_.mask, frame_.at);
  } else {
    std::ranges::copy(in, bytes.begin());
  }
  frame_.at += in.size();
  if (is_control(frame_.opcode)) {
    control_.insert(control_.end(), bytes.begin(), bytes.end());
    return;
  }
  message_bytes_ += in.size();
  if (kind_ == Kind::Text && !text_.feed(bytes))
    return fail(CloseCode::InvalidPayload, "text that is not UTF-8");
  const bool last = frame_.fin && frame_.at == frame_.length;
  if (!last) events_.emplace_back(MessagePiece{kind_, false, std::move(bytes)});
  if (last) {
    if (kind_ == Kind::Text && !text_.complete())
      return fail(CloseCode::InvalidPayload, "text that ends within a character");
    in_message_ = false;
    events_.emplace_back(MessagePiece{kind_, true, std::move(bytes)});
  }
}

void Connection::end_frame() {
  in_payload_ = false;
  if (is_control(frame_.opcode)) return end_control();
  // An empty last fragment.
  if (frame_.fin && in_message_) take_data({});
}

void Connection::end_control() {
  if (frame_.opcode == kPing) return pong(control_);
  if (frame_.opcode == kPong) {
    events_.emplace_back(Pong{std::exchange(control_, {})});
    return;
  }
  end_close();
}

// RFC 6455 §5.5.1, §7.1.5.
void Connection::end_close() {
  PeerClosed closed;
  closed.code = static_cast<std::uint16_t>(CloseCode::None);
  if (!control_.empty()) {
    Reader r(control_);
    closed.code = r.u16();
    if (!r.ok() || !may_be_sent(closed.code)) return fail(CloseCode::Protocol, "a bad close code");
    const Bytes reason = r.bytes(r.left());
    Utf8Check check;
    if (!check.feed(reason) || !check.complete())
      return fail(CloseCode::InvalidPayload, "a close reason that is not UTF-8");
    closed.reason = as_text(reason);
  }
  reading_ = false;
  events_.emplace_back(std::move(closed));
}

void Connection::fail(CloseCode code, std::string_view reason) {
  reading_ = false;
  events_.emplace_back(Failed{code, std::string(reason)});
}

// --- sending -------------------------------------------------------------------------------------

void Connection::write_frame(std::uint8_t opcode, Bytes payload) {
  const bool masked = settings_.role == Role::Client;
  const auto mask_bit = static_cast<std::uint8_t>(masked ? kMasked : 0);
  Writer w(out_);
  w.u8(kFin | opcode);
  if (payload.size() <= 125) {
    w.u8(static_cast<std::uint8_t>(mask_bit | payload.size()));
  } else if (payload.size() <= 0xffff) {
    w.u8(mask_bit | 126);
    w.u16(static_cast<std::uint16_t>(payload.size()));
  } else {
    w.u8(mask_bit | 127);
    w.u64(payload.size());
  }
  if (!masked) return w.bytes(payload);
  // A key for each frame that nobody can foresee (RFC 6455 §5.3).
  if (keys_at_ == keys_.size()) {
    crypto::random_bytes(keys_);
    keys_at_ = 0;
  }
  std::array<std::uint8_t, 4> key{};
  std::copy_n(keys_.begin() + static_cast<std::ptrdiff_t>(keys_at_), key.size(), key.begin());
  keys_at_ += key.size();
  w.bytes(key);
  const std::size_t from = out_.size();
  out_.resize(from + payload.size());
  apply_mask(out_.data() + from, payload, key, 0);
}

void Connection::send(Kind kind, Bytes payload) {
  if (!close_sent_) write_frame(kind == Kind::Text ? kText : kBinary, payload);
}

void Connection::ping(Bytes payload) {
  CHECK(payload.size() <= kControlPayloadMax);
  if (!close_sent_) write_frame(kPing, payload);
}

void Connection::pong(Bytes payload) {
  if (!close_sent_ && out_.size() - out_at_ < kPongOutputMax) write_frame(kPong, payload);
}

void Connection::close(CloseCode code, std::string_view reason) {
  if (close_sent_) return;
  close_sent_ = true;
  ByteVector payload;
  Writer w(payload);
  CHECK(reason.size() <= kControlPayloadMax - 2);
  if (code != CloseCode::None) {
    w.u16(static_cast<std::uint16_t>(code));
    w.text(reason);
  }
  write_frame(kClose, payload);
}

void Connection::consume_output(std::size_t n) {
  out_at_ += n;
  CHECK(out_at_ <= out_.size());
  if (out_at_ < out_.size()) return;
  out_.clear();
  if (out_.capacity() > kPongOutputMax) out_.shrink_to_fit();
  out_at_ = 0;
}

}  // namespace adit::ws

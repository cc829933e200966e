#include "proto/tls_hello/hello_reader.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/limits.h"

namespace adit {

namespace {

// RFC 8446 §5.1, §4.
constexpr std::uint8_t kHandshakeRecord = 22;
constexpr std::uint8_t kClientHello = 1;
constexpr std::size_t kRecordHeaderBytes = 5;
constexpr std::uint32_t kMessageHeaderBytes = 4;
constexpr std::uint16_t kFragmentMax = 1 << 14;

// RFC 9110 §9, RFC 5789, and the preface of HTTP/2 without TLS (RFC 9113 §3.4).
constexpr std::array<std::string_view, 10> kMethods = {
    "GET ",     "HEAD ",    "POST ",  "PUT ",   "DELETE ",
    "CONNECT ", "OPTIONS ", "TRACE ", "PATCH ", "PRI "};

Error unexpected(std::string_view what) { return hello_error(HelloFault::Unexpected, what); }

// Some method begins with `text`, or is it.
bool may_be_method(std::string_view text) {
  return std::any_of(kMethods.begin(), kMethods.end(),
                     [text](std::string_view method) { return method.starts_with(text); });
}

}  // namespace

Result<HelloReader::Need> HelloReader::feed(Bytes in) {
  CHECK(state_ != HelloState::Done);
  CHECK(state_ != HelloState::Failed);
  read_.insert(read_.end(), in.begin(), in.end());
  // Bytes over the bound are not looked at, so that a hello is too large or not whatever came with
  // its last bytes.
  const std::size_t end = std::min(read_.size(), limits::kHelloBytesMax);
  Status status;
  while (status && at_ < end && state_ != HelloState::Done) status = step(end);
  if (status && at_ == limits::kHelloBytesMax && state_ != HelloState::Done)
    status = hello_error(HelloFault::TooLarge, "client hello over 16 KiB");
  if (!status) {
    move(HelloEvent::Fault);
    return std::move(status).error();
  }
  return state_ == HelloState::Done ? Need::Done : Need::More;
}

const ClientHello& HelloReader::hello() const {
  CHECK(state_ == HelloState::Done);
  return *hello_;
}

ByteVector HelloReader::take() {
  CHECK(state_ == HelloState::Done || state_ == HelloState::Failed);
  return std::exchange(read_, {});
}

// Advances by at least one byte or to another state.
Status HelloReader::step(std::size_t end) {
  switch (state_) {
    case HelloState::Start: return start(read_[at_]);
    case HelloState::Text: return text();
    case HelloState::RecordHeader: return record_header(read_[at_++]);
    case HelloState::MessageHeader: return message_header(read_[at_++]);
    case HelloState::MessageBody: return message_body(end);
    case HelloState::Done:
    case HelloState::Failed: break;
  }
  check_failed("step before the end", __FILE__, __LINE__);
}

Status HelloReader::start(std::uint8_t byte) {
  if (byte == kHandshakeRecord) return move(HelloEvent::HandshakeByte), Status();
  const char letter = static_cast<char>(byte);
  if (may_be_method({&letter, 1})) return move(HelloEvent::LetterByte), Status();
  // RFC 5246 §E.2: the length of an SSLv2 hello has its highest bit set.
  return hello_error(HelloFault::NotTls, byte & 0x80 ? "SSLv2, or not TLS" : "not TLS");
}

Status HelloReader::text() {
  const std::string_view text = as_text(Bytes(read_).first(++at_));
  if (!may_be_method(text)) return hello_error(HelloFault::NotTls, "not TLS");
  if (text.ends_with(' ')) return hello_error(HelloFault::PlainHttp, "HTTP without TLS");
  return {};
}

Status HelloReader::record_header(std::uint8_t byte) {
  switch (record_header_seen_++) {
    case 0:
      // RFC 8446 §5.1: no other records between the fragments of a message.
      if (byte != kHandshakeRecord) return unexpected("record amid the hello");
      return {};
    case 1:
      if (byte != 3) return hello_error(HelloFault::NotTls, "record of no TLS version");
      return {};
    case 2:
      // SSL 3.0 has no server name; above TLS 1.2 the field stands still (RFC 8446 §5.1).
      if (byte < 1 || byte > 3) return hello_error(HelloFault::BadVersion, "record version");
      return {};
    case 3: record_left_ = static_cast<std::uint16_t>(byte << 8); return {};
    default: break;
  }
  record_header_seen_ = 0;
  record_left_ = static_cast<std::uint16_t>(record_left_ | byte);
  // RFC 8446 §5.1: no zero-length fragments of handshake types; at most 2^14 bytes.
  if (record_left_ == 0) return hello_error(HelloFault::Malformed, "empty handshake record");
  if (record_left_ > kFragmentMax)
    return hello_error(HelloFault::RecordOverflow, "record over 16 KiB");
  move(message_seen_ < kMessageHeaderBytes ? HelloEvent::HeaderFragment
                                           : HelloEvent::BodyFragment);
  return {};
}

Status HelloReader::message_header(std::uint8_t byte) {
  --record_left_;
  if (message_seen_++ == 0) {
    if (byte != kClientHello) return unexpected("message is no client hello");
  } else {
    message_length_ = message_length_ << 8 | byte;
  }
  if (message_seen_ == kMessageHeaderBytes) {
    move(HelloEvent::MessageBegin);
    if (message_length_ == 0) return finish();
  }
  if (record_left_ == 0) move(HelloEvent::RecordEnd);
  return {};
}

Status HelloReader::message_body(std::size_t end) {
  const std::uint32_t message_left = message_length_ + kMessageHeaderBytes - message_seen_;
  const auto n = static_cast<std::uint32_t>(
      std::min({end - at_, std::size_t{record_left_}, std::size_t{message_left}}));
  at_ += n;
  message_seen_ += n;
  record_left_ = static_cast<std::uint16_t>(record_left_ - n);
  if (n == message_left) return finish();
  if (record_left_ == 0) move(HelloEvent::RecordEnd);
  return {};
}

Status HelloReader::finish() {
  ByteVector joined;
  auto hello = parse_client_hello(message(joined));
  if (!hello) return std::move(hello).error();
  hello_ = std::make_unique<const ClientHello>(*std::move(hello));
  move(HelloEvent::MessageEnd);
  return {};
}

// The body of the whole message: as it lies in read_ where one record holds it, which is nearly
// always, else put together in `joined`.
Bytes HelloReader::message(ByteVector& joined) const {
  const Bytes read = Bytes(read_).first(at_);
  if (read.size() == kRecordHeaderBytes + message_seen_)
    return read.subspan(kRecordHeaderBytes + kMessageHeaderBytes);
  joined.reserve(message_seen_);
  Reader in(read);
  while (joined.size() < message_seen_) {
    in.skip(kRecordHeaderBytes - 2);
    const std::size_t length = in.u16();
    const Bytes fragment = in.bytes(std::min(length, in.left()));
    joined.insert(joined.end(), fragment.begin(), fragment.end());
    CHECK(in.ok());
  }
  return Bytes(joined).subspan(kMessageHeaderBytes);
}

void HelloReader::move(HelloEvent event) {
  const auto to = next(state_, event);
  CHECK(to);
  state_ = *to;
}

}  // namespace adit

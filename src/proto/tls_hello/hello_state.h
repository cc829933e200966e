// Where a HelloReader stands in the stream, as one pure function (the table is in its test).
#pragma once

#include <cstdint>
#include <optional>

namespace adit {

enum class HelloState : std::uint8_t {
  Start,          // nothing read
  Text,           // an HTTP method so far
  RecordHeader,   // within the five bytes before a fragment
  MessageHeader,  // within a fragment, within the four bytes before the message
  MessageBody,    // within a fragment, within the message
  Done,
  Failed,
};

enum class HelloEvent : std::uint8_t {
  HandshakeByte,   // the first byte is a handshake record's
  LetterByte,      // the first byte is the first of an HTTP method
  HeaderFragment,  // a record header is whole; the message header is not
  BodyFragment,    // a record header is whole; so is the message header
  MessageBegin,    // the message header is whole
  RecordEnd,       // the fragment is read to its end, the message is not
  MessageEnd,      // the message is whole and was understood
  Fault,
};

// Nothing where the event is impossible in that state.
constexpr std::optional<HelloState> next(HelloState state, HelloEvent event) {
  using S = HelloState;
  using E = HelloEvent;
  switch (state) {
    case S::Start:
      if (event == E::HandshakeByte) return S::RecordHeader;
      if (event == E::LetterByte) return S::Text;
      break;
    case S::Text: break;
    case S::RecordHeader:
      if (event == E::HeaderFragment) return S::MessageHeader;
      if (event == E::BodyFragment) return S::MessageBody;
      break;
    case S::MessageHeader:
      if (event == E::MessageBegin) return S::MessageBody;
      if (event == E::RecordEnd) return S::RecordHeader;
      break;
    case S::MessageBody:
      if (event == E::RecordEnd) return S::RecordHeader;
      if (event == E::MessageEnd) return S::Done;
      break;
    case S::Done:
    case S::Failed: return std::nullopt;
  }
  if (event == E::Fault) return S::Failed;
  return std::nullopt;
}

}  // namespace adit

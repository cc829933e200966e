// The cases of the Autobahn test suite (fuzzing client against a server), by its numbers: what a
// server that echoes every message sends back, however the input is cut.
#include "proto/ws/connection.h"

#include <gtest/gtest.h>

#include <variant>

namespace adit::ws {
namespace {

struct In {
  std::uint8_t opcode;
  std::string payload;
  bool fin = true;
  std::uint8_t rsv = 0;
};

// A client's frame, masked.
ByteVector frame_of(const In& in) {
  ByteVector out;
  Writer w(out);
  w.u8(static_cast<std::uint8_t>((in.fin ? 0x80 : 0) | in.rsv << 4 | in.opcode));
  const std::size_t n = in.payload.size();
  if (n <= 125) {
    w.u8(static_cast<std::uint8_t>(0x80 | n));
  } else if (n <= 0xffff) {
    w.u8(0x80 | 126);
    w.u16(static_cast<std::uint16_t>(n));
  } else {
    w.u8(0x80 | 127);
    w.u64(n);
  }
  constexpr std::array<std::uint8_t, 4> key = {0x12, 0xa3, 0x00, 0xff};
  w.bytes(key);
  for (std::size_t i = 0; i < n; ++i)
    w.u8(static_cast<std::uint8_t>(static_cast<std::uint8_t>(in.payload[i]) ^ key[i & 3]));
  return out;
}

std::string code(std::uint16_t c, std::string_view reason = {}) {
  return std::string{static_cast<char>(c >> 8), static_cast<char>(c & 0xff)}.append(reason);
}

// What the server sends, as text: "text:..", "binary:..", "pong:..", "close:CODE".
std::vector<std::string> echo(Bytes input, std::size_t piece) {
  Settings settings;
  settings.message_bytes_max = 20 << 20;
  Connection server(settings);
  Settings peer;
  peer.role = Role::Client;
  Connection client(peer);
  std::string message;
  std::vector<std::string> out;
  for (std::size_t at = 0; at < input.size(); at += piece) {
    server.feed(input.subspan(at, std::min(piece, input.size() - at)));
    for (Event& e : server.take_events()) {
      if (auto* m = std::get_if<MessagePiece>(&e)) {
        message += as_text(m->bytes);
        if (m->last) server.send(m->kind, as_bytes(std::exchange(message, {})));
      } else if (auto* c = std::get_if<PeerClosed>(&e)) {
        server.close(CloseCode{c->code}, {});
      } else if (auto* f = std::get_if<Failed>(&e)) {
        server.close(f->code, f->reason);
      }
    }
  }
  client.feed(server.output());
  for (Event& e : client.take_events()) {
    if (auto* m = std::get_if<MessagePiece>(&e)) {
      message += as_text(m->bytes);
      if (m->last)
        out.push_back((m->kind == Kind::Text ? "text:" : "binary:") + std::exchange(message, {}));
    } else if (auto* p = std::get_if<Pong>(&e)) {
      out.push_back("pong:" + std::string(as_text(p->payload)));
    } else if (auto* c = std::get_if<PeerClosed>(&e)) {
      out.push_back("close:" + std::to_string(c->code));
    } else {
      out.push_back("failed:" + std::get<Failed>(e).reason);
    }
  }
  return out;
}

struct Case {
  const char* name;
  std::vector<In> in;
  std::vector<std::string> out;
};

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    ByteVector input;
    for (const In& f : c.in) {
      const ByteVector bytes = frame_of(f);
      input.insert(input.end(), bytes.begin(), bytes.end());
    }
    for (const std::size_t piece : {input.size(), std::size_t{1}, std::size_t{997}})
      EXPECT_EQ(echo(input, piece), c.out) << c.name << " in pieces of " << piece;
  }
}

constexpr std::uint8_t kCont = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10;
const std::string kGreek = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";

TEST(WebSocket, Autobahn1Framing) {
  std::vector<Case> cases;
  for (const std::size_t n : {0, 125, 126, 127, 128, 65535, 65536}) {
    const std::string payload(n, '*');
    cases.push_back({"1.1", {{kText, payload}}, {"text:" + payload}});
    cases.push_back({"1.2", {{kBinary, payload}}, {"binary:" + payload}});
  }
  check(cases);
}

TEST(WebSocket, Autobahn2PingsAndPongs) {
  const std::string binary = {'\x00', '\xff', '\xfe', '\xfd'};
  std::vector<In> ten;
  std::vector<std::string> answers;
  for (int i = 0; i < 10; ++i) {
    ten.push_back({kPing, std::to_string(i)});
    answers.push_back("pong:" + std::to_string(i));
  }
  check({{"2.1", {{kPing, ""}}, {"pong:"}},
         {"2.2", {{kPing, "Hello, world!"}}, {"pong:Hello, world!"}},
         {"2.3", {{kPing, binary}}, {"pong:" + binary}},
         {"2.4", {{kPing, std::string(125, '\xfe')}}, {"pong:" + std::string(125, '\xfe')}},
         {"2.5", {{kPing, std::string(126, '\xfe')}}, {"close:1002"}},
         {"2.7", {{kPong, ""}}, {}},
         {"2.8", {{kPong, "unsolicited"}}, {}},
         {"2.9", {{kPong, "unsolicited"}, {kPing, "x"}}, {"pong:x"}},
         {"2.10", ten, answers}});
}

TEST(WebSocket, Autobahn3ReservedBits) {
  for (std::uint8_t rsv = 1; rsv <= 7; ++rsv)
    check({{"3.1", {{kText, "small", true, rsv}}, {"close:1002"}},
           {"3.2", {{kText, "small"}, {kText, "small", true, rsv}, {kPing, "x"}},
            {"text:small", "close:1002"}},
           {"3.6", {{kPing, "x", true, rsv}}, {"close:1002"}},
           {"3.7", {{kClose, "", true, rsv}}, {"close:1002"}}});
}

TEST(WebSocket, Autobahn4ReservedOpcodes) {
  for (const std::uint8_t opcode : std::initializer_list<std::uint8_t>{3, 4, 5, 6, 7, 11, 12, 13,
                                                                       14, 15})
    check({{"4.1.1", {{opcode, ""}}, {"close:1002"}},
           {"4.1.2", {{opcode, "payload"}}, {"close:1002"}},
           {"4.1.3", {{kText, "small"}, {opcode, ""}, {kPing, "x"}},
            {"text:small", "close:1002"}}});
}

TEST(WebSocket, Autobahn5Fragmentation) {
  check(
      {{"5.1", {{kPing, "a", false}, {kCont, "b"}}, {"close:1002"}},
       {"5.2", {{kPong, "a", false}, {kCont, "b"}}, {"close:1002"}},
       {"5.3", {{kText, "frag1", false}, {kCont, "frag2"}}, {"text:frag1frag2"}},
       {"5.6", {{kText, "a", false}, {kPing, "p"}, {kCont, "b"}}, {"pong:p", "text:ab"}},
       {"5.9", {{kCont, "non-continuation", true}, {kText, "x"}}, {"close:1002"}},
       {"5.12", {{kCont, "non-continuation", false}, {kText, "x"}}, {"close:1002"}},
       {"5.15",
        {{kText, "a", false}, {kCont, "b"}, {kCont, "c", false}, {kText, "d"}},
        {"text:ab", "close:1002"}},
       {"5.18", {{kText, "a", false}, {kText, "b"}}, {"close:1002"}},
       {"5.19",
        {{kText, "a", false}, {kCont, "b", false}, {kPing, "1"}, {kCont, "c", false},
         {kCont, "d", false}, {kPing, "2"}, {kCont, "e"}},
        {"pong:1", "pong:2", "text:abcde"}},
       {"6.1.2", {{kText, "", false}, {kCont, "", false}, {kCont, ""}}, {"text:"}},
       {"6.1.3", {{kText, "", false}, {kCont, "mid", false}, {kCont, ""}}, {"text:mid"}}});
}

TEST(WebSocket, Autobahn6Utf8) {
  std::vector<Case> cases = {
      {"6.2.1", {{kText, "Hello-\xc2\xb5@\xc3\x9f"}}, {"text:Hello-\xc2\xb5@\xc3\x9f"}},
      {"6.2.3", {{kText, kGreek.substr(0, 1), false}, {kCont, kGreek.substr(1)}},
       {"text:" + kGreek}},
      {"6.3.1", {{kText, kGreek + "\xed\xa0\x80" "edited"}}, {"close:1007"}},
      // Found before the message is over.
      {"6.4.1", {{kText, kGreek + "\xf4\x90\x80\x80", false}, {kPing, "late"}}, {"close:1007"}},
      {"6.4.3", {{kText, kGreek + "\xf4", false}, {kCont, "\x90", false}, {kPing, "late"}},
       {"close:1007"}},
      // Bytes that are no text are fine in a binary message.
      {"binary", {{kBinary, "\xff\xfe"}}, {"binary:\xff\xfe"}},
  };
  for (const char* good :
       {"\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xef\xbf\xbf", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbd", "\xc2\x80", "\xe0\xa0\x80", "\x7f", "\xdf\xbf"})
    cases.push_back({"6.valid", {{kText, good}}, {"text:" + std::string(good)}});
  for (const char* bad :
       {"\xce", "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xf7\xbf\xbf\xbf", "\x80",
        "\xbf", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xe0\x9f\xbf", "\xf0\x80\x80\xaf",
        "\xf0\x8f\xbf\xbf", "\xfe", "\xff", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf4\x90\x80\x80",
        "\xe1\xbd", "\xce\xba\xe1"})
    cases.push_back({"6.invalid", {{kText, bad}}, {"close:1007"}});
  check(cases);
}

TEST(WebSocket, Autobahn7Close) {
  std::vector<Case> cases = {
      {"7.1.1", {{kText, "Hello"}, {kClose, code(1000)}}, {"text:Hello", "close:1000"}},
      {"7.1.2", {{kClose, ""}, {kClose, ""}}, {"close:1005"}},
      {"7.1.3", {{kClose, ""}, {kPing, "x"}}, {"close:1005"}},
      {"7.1.4", {{kClose, ""}, {kText, "x"}}, {"close:1005"}},
      {"7.1.5", {{kText, "a", false}, {kClose, ""}, {kCont, "b"}}, {"close:1005"}},
      {"7.3.1", {{kClose, ""}}, {"close:1005"}},
      {"7.3.2", {{kClose, "a"}}, {"close:1002"}},
      {"7.3.3", {{kClose, code(1000)}}, {"close:1000"}},
      {"7.3.4", {{kClose, code(1000, "Hello!")}}, {"close:1000"}},
      {"7.3.5", {{kClose, code(1000, std::string(123, 'x'))}}, {"close:1000"}},
      {"7.3.6", {{kClose, code(1000, std::string(124, 'x'))}}, {"close:1002"}},
      {"7.5.1", {{kClose, code(1000, kGreek + "\xed\xa0\x80")}}, {"close:1007"}},
  };
  using Codes = std::initializer_list<std::uint16_t>;
  for (const std::uint16_t good : Codes{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000,
                                        3999, 4000, 4999})
    cases.push_back({"7.7", {{kClose, code(good)}}, {"close:" + std::to_string(good)}});
  for (const std::uint16_t bad :
       Codes{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535})
    cases.push_back({"7.9", {{kClose, code(bad)}}, {"close:1002"}});
  check(cases);
}

TEST(WebSocket, Autobahn9Size) {
  const std::string big(4 << 20, '*');
  std::vector<In> fragments;
  for (std::size_t at = 0; at < big.size(); at += 65536)
    fragments.push_back({at == 0 ? kBinary : kCont, big.substr(at, 65536),
                         at + 65536 == big.size()});
  for (const auto& in : {std::vector<In>{{kBinary, big}}, fragments}) {
    ByteVector input;
    for (const In& f : in) {
      const ByteVector bytes = frame_of(f);
      input.insert(input.end(), bytes.begin(), bytes.end());
    }
    EXPECT_EQ(echo(input, 65536), std::vector<std::string>{"binary:" + big});
  }
}

TEST(WebSocket, AMessageBeyondTheBoundIsRefusedByItsLength) {
  Settings settings;
  settings.message_bytes_max = 10;
  for (const auto& in : {std::vector<In>{{kBinary, std::string(11, 'x')}},
                         std::vector<In>{{kBinary, "12345", false}, {kCont, "678901"}}}) {
    Connection server(settings);
    for (const In& f : in) server.feed(frame_of(f));
    const std::vector<Event> events = server.take_events();
    ASSERT_FALSE(events.empty());
    ASSERT_TRUE(std::holds_alternative<Failed>(events.back()));
    EXPECT_EQ(std::get<Failed>(events.back()).code, CloseCode::TooBig);
  }
}

TEST(WebSocket, LengthsInTheWrongForm) {
  for (const ByteVector& head :
       {ByteVector{0x82, 0xfe, 0, 125, 1, 2, 3, 4},
        ByteVector{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4},
        ByteVector{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}}) {
    Connection server({});
    server.feed(head);
    EXPECT_TRUE(std::holds_alternative<Failed>(server.take_events().at(0)));
    server.close(CloseCode::Protocol, {});
    EXPECT_TRUE(server.done());
  }
}

TEST(WebSocket, MaskingIsTheClientsBusiness) {
  Connection server({});
  server.feed(ByteVector{0x81, 0x01, 'x'});
  EXPECT_TRUE(std::holds_alternative<Failed>(server.take_events().at(0)));
  Settings settings;
  settings.role = Role::Client;
  Connection client(settings);
  client.feed(frame_of({kText, "x"}));
  EXPECT_TRUE(std::holds_alternative<Failed>(client.take_events().at(0)));
}

TEST(WebSocket, HalfCloseLeavesOurDirectionOpen) {
  Connection server({});
  server.feed(frame_of({kClose, code(1000)}));
  EXPECT_TRUE(server.peer_closed());
  EXPECT_FALSE(server.closed());
  server.send(Kind::Binary, as_bytes("still"));
  server.close(CloseCode::Normal, "");
  server.send(Kind::Binary, as_bytes("too late"));
  EXPECT_TRUE(server.done());
  Settings peer;
  peer.role = Role::Client;
  Connection client(peer);
  client.feed(server.output());
  const std::vector<Event> events = client.take_events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(as_text(std::get<MessagePiece>(events[0]).bytes), "still");
  EXPECT_EQ(std::get<PeerClosed>(events[1]).code, 1000);
}

TEST(WebSocket, PingsWithoutEndMakeNoOutputWithoutEnd) {
  Connection server({});
  const ByteVector ping = frame_of({kPing, std::string(125, 'p')});
  for (int i = 0; i < 10'000; ++i) server.feed(ping);
  EXPECT_LE(server.output().size(), 65u * 1024);
  server.consume_output(server.output().size());
  server.feed(ping);
  EXPECT_GT(server.output().size(), 125u);
}

}  // namespace
}  // namespace adit::ws

#include "proto/tls_hello/hello_reader.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/limits.h"
#include "base/prng.h"
#include "proto/tls_hello/test_hello.h"

namespace adit {
namespace {

namespace t = test_hello;
using Need = HelloReader::Need;

constexpr std::size_t kCap = limits::kHelloBytesMax;

// What came of a stream: "more", "done", or the fault's errno as text; and after how many bytes.
struct Outcome {
  std::string verdict = "more";
  std::size_t fed = 0;
  ClientHello hello;
  bool operator==(const Outcome&) const = default;
};

// Feeds `stream` in the given pieces, the rest as one; checks what holds for every stream.
Outcome read(Bytes stream, const std::vector<std::size_t>& pieces) {
  HelloReader reader;
  Outcome out;
  for (std::size_t i = 0; out.fed < stream.size(); ++i) {
    const std::size_t left = stream.size() - out.fed;
    const std::size_t piece = i < pieces.size() ? std::min(pieces[i], left) : left;
    const auto need = reader.feed(stream.subspan(out.fed, piece));
    out.fed += piece;
    EXPECT_EQ(as_text(reader.consumed()), as_text(stream.first(out.fed)));
    EXPECT_LT(reader.consumed().size(), kCap + std::max<std::size_t>(piece, 1));
    if (!need) {
      out.verdict = need.error().what;
      hello_fault(need.error());
      EXPECT_EQ(reader.state(), HelloState::Failed);
      return out;
    }
    if (*need == Need::More) continue;
    out.verdict = "done";
    out.hello = reader.hello();
    return out;
  }
  return out;
}

Outcome read(Bytes stream) { return read(stream, {}); }
Outcome read_bytewise(Bytes stream) {
  return read(stream, std::vector<std::size_t>(stream.size(), 1));
}

// Behind the two bytes that choose the cut of the fuzz target, a corpus file is the stream.
ByteVector captured(std::string_view name) {
  const auto path = std::filesystem::path("tests/corpus/tls_hello").append(name).concat(".bin");
  std::ifstream in(path, std::ios::binary);
  ByteVector out{std::istreambuf_iterator<char>(in), {}};
  if (out.size() < 2) {
    ADD_FAILURE() << path << ": the tests run in the source folder, and it is there";
    return out;
  }
  out.erase(out.begin(), out.begin() + 2);
  return out;
}

struct Capture {
  std::string_view name;
  ClientHello hello;
};

// First flights of OpenSSL 3.0, curl 7.88, GnuTLS 3.7, Python, Node, OpenJDK 17 and Go 1.26, taken
// from a loopback socket.
const std::vector<Capture>& captures() {
  std::vector<std::string> forty;
  for (int i = 0; i < 40; ++i)
    forty.push_back(std::string("protocol-") + char('0' + i / 10) + char('0' + i % 10) +
                    "-of-a-long-list");
  static const std::vector<Capture> all = {
      {"openssl_tls12", {"www.example.com", {}, false}},
      // Sent as Relay.Example.ORG with a trailing dot.
      {"openssl_tls13_alpn", {"relay.example.org", {"h2", "http/1.1", "acme-tls/1"}, false}},
      {"openssl_no_sni", {"", {}, false}},
      {"openssl_small_fragments", {"split.example.com", forty, false}},  // three records
      {"curl_openssl", {"curl.example.net", {"h2", "http/1.1"}, false}},
      {"curl_address", {"", {"h2", "http/1.1"}, false}},
      {"wget_gnutls", {"localhost", {}, false}},
      {"git_gnutls", {"localhost", {"h2", "http/1.1"}, false}},
      {"python_ssl", {"python.example.com", {"http/1.1"}, false}},
      {"node", {"node.example.com", {"h2"}, false}},
      {"java", {"java.example.com", {"h2", "http/1.1"}, false}},
      {"go_mlkem", {"go.example.com", {"h2", "http/1.1"}, false}},
      // The inner hello asks for secret.example.com.
      {"go_ech", {"public.example.com", {"h2", "http/1.1"}, true}},
      // Built by hand: GREASE everywhere, X25519MLKEM768 and X25519 key shares, GREASE ECH.
      {"chromium_like", {"chromium.example.com", {"\x8a\x8a", "h2", "http/1.1"}, true}},
  };
  return all;
}

// The one message of a stream in well-formed records.
ByteVector message_of(Bytes stream) {
  ByteVector out;
  Reader in(stream);
  while (in.left() > 0) {
    in.skip(3);
    const Bytes fragment = in.bytes(in.u16());
    out.insert(out.end(), fragment.begin(), fragment.end());
  }
  EXPECT_TRUE(in.ok());
  return out;
}

TEST(HelloReader, ReadsWhatRealProgramsSend) {
  for (const Capture& c : captures()) {
    const ByteVector stream = captured(c.name);
    const Outcome expected{"done", stream.size(), c.hello};
    const Outcome whole = read(stream);
    EXPECT_EQ(whole.verdict, "done") << c.name;
    EXPECT_EQ(whole.hello.sni, c.hello.sni) << c.name;
    EXPECT_EQ(whole.hello.alpn, c.hello.alpn) << c.name;
    EXPECT_EQ(whole.hello.has_ech, c.hello.has_ech) << c.name;
    EXPECT_EQ(read_bytewise(stream), expected) << c.name;
  }
}

TEST(HelloReader, EverySplitInTwo) {
  for (const Capture& c : captures()) {
    const ByteVector stream = captured(c.name);
    const Outcome expected{"done", stream.size(), c.hello};
    for (std::size_t at = 0; at < stream.size(); ++at)
      ASSERT_EQ(read(stream, {at}), expected) << c.name << " at " << at;
  }
}

TEST(HelloReader, RandomSplits) {
  Prng random(7);
  for (const Capture& c : captures()) {
    const ByteVector stream = captured(c.name);
    const Outcome expected{"done", stream.size(), c.hello};
    for (int round = 0; round < 100; ++round) {
      std::vector<std::size_t> pieces(stream.size());
      const std::uint64_t most = 1 + random.below(stream.size());
      for (std::size_t& piece : pieces) piece = random.below(most + 1);
      ASSERT_EQ(read(stream, pieces), expected) << c.name << " round " << round;
    }
  }
}

// RFC 8446 §5.1: a message may lie in any number of records.
TEST(HelloReader, EveryRecordSize) {
  for (const Capture& c : captures()) {
    const ByteVector message = message_of(captured(c.name));
    for (std::size_t size = 1; size <= message.size(); ++size) {
      const ByteVector stream = t::records(message, size);
      ASSERT_LT(stream.size(), kCap);
      const Outcome expected{"done", stream.size(), c.hello};
      ASSERT_EQ(read(stream), expected) << c.name << " in records of " << size;
      if (size % 50 != 1) continue;
      ASSERT_EQ(read_bytewise(stream), expected) << c.name << " " << size;
    }
  }
}

TEST(HelloReader, EveryPrefixNeedsMore) {
  for (const Capture& c : captures()) {
    const ByteVector stream = captured(c.name);
    for (std::size_t n = 0; n < stream.size(); ++n)
      ASSERT_EQ(read(Bytes(stream).first(n)).verdict, "more") << c.name << " of " << n;
  }
}

TEST(HelloReader, AnEmptyFeedChangesNothing) {
  const ByteVector stream = t::stream(t::server_name("a.example"));
  HelloReader reader;
  EXPECT_EQ(*reader.feed({}), Need::More);
  EXPECT_EQ(*reader.feed(Bytes(stream).first(3)), Need::More);
  EXPECT_EQ(*reader.feed({}), Need::More);
  EXPECT_EQ(*reader.feed(Bytes(stream).subspan(3)), Need::Done);
  EXPECT_EQ(reader.hello().sni, "a.example");
}

TEST(HelloReader, KeepsWhatFollowsTheHello) {
  const ByteVector hello = t::stream(t::server_name("a.example"));
  const ByteVector early(3 * kCap, 0xee);
  const ByteVector stream = t::join({hello, early});
  HelloReader reader;
  ASSERT_EQ(*reader.feed(Bytes(stream).first(hello.size() - 1)), Need::More);
  ASSERT_EQ(*reader.feed(Bytes(stream).subspan(hello.size() - 1)), Need::Done);
  EXPECT_EQ(as_text(reader.consumed()), as_text(stream));
  EXPECT_EQ(reader.take(), stream);
  EXPECT_TRUE(reader.consumed().empty());
  EXPECT_EQ(reader.hello().sni, "a.example");
}

// The record goes on behind the hello: what it holds is for the server to judge.
TEST(HelloReader, IsDoneAtTheLastByteOfTheMessage) {
  const ByteVector message = t::message(t::body(t::server_name("a.example")));
  const ByteVector stream = t::records(t::join({message, ByteVector(10, 0xee)}));
  const Outcome outcome = read_bytewise(stream);
  EXPECT_EQ(outcome.verdict, "done");
  EXPECT_EQ(outcome.fed, stream.size() - 10);
}

// A body of `size` bytes with a name; the rest of it is one extension that nobody knows.
ByteVector body_of_size(std::size_t size) {
  const ByteVector name = t::server_name("a.example");
  const std::size_t without = t::body(t::join({name, t::extension(0xabcd, {})})).size();
  return t::body(t::join({t::extension(0xabcd, ByteVector(size - without)), name}));
}

TEST(HelloReader, TakesAHelloUpToTheCap) {
  struct Row {
    std::size_t fragment_max;
    std::size_t overhead;  // of record headers at the cap
  };
  for (const Row& row : {Row{1 << 14, 5}, Row{8190, 10}, Row{1000, 85}, Row{2, 11704}}) {
    const ByteVector fits = t::records(t::message(body_of_size(kCap - row.overhead - 4)),
                                       row.fragment_max);
    ASSERT_LE(fits.size(), kCap);
    ASSERT_GT(fits.size(), kCap - 5);
    EXPECT_EQ(read(fits).verdict, "done");
    EXPECT_EQ(read_bytewise(fits).verdict, "done");
    const ByteVector over = t::records(t::message(body_of_size(kCap - row.overhead - 4 + 5)),
                                       row.fragment_max);
    ASSERT_GT(over.size(), kCap);
    EXPECT_EQ(read(over).verdict, "client hello over 16 KiB");
    const Outcome bytewise = read_bytewise(over);
    EXPECT_EQ(bytewise.verdict, "client hello over 16 KiB");
    EXPECT_EQ(bytewise.fed, kCap);
  }
}

TEST(HelloReader, RefusesALargeHelloAtTheCapNotBefore) {
  const ByteVector stream = t::records(t::message(body_of_size((64 << 10) - 100)));
  ASSERT_GT(stream.size(), std::size_t{64 << 10} - 100);
  EXPECT_EQ(read(Bytes(stream).first(kCap - 1)).verdict, "more");
  EXPECT_EQ(read(Bytes(stream).first(kCap)).verdict, "client hello over 16 KiB");
  EXPECT_EQ(read(stream).verdict, "client hello over 16 KiB");
  EXPECT_EQ(read_bytewise(stream).fed, kCap);
}

// Many small feeds cost what their bytes cost: the message is looked into once, at its end, so a
// fault inside it shows there and not earlier.
TEST(HelloReader, ParsesOnceWhenTheMessageIsWhole) {
  ByteVector body = body_of_size(kCap - 9);
  body[0] = 9;  // no TLS version
  const ByteVector stream = t::records(t::message(body));
  const Outcome outcome = read_bytewise(stream);
  EXPECT_EQ(outcome.verdict, "client hello version");
  EXPECT_EQ(outcome.fed, kCap);
}

TEST(HelloReader, HoldsNoMoreThanTwiceWhatCame) {
  const ByteVector stream = t::records(t::message(body_of_size(3000)));
  HelloReader reader;
  for (std::uint8_t byte : stream) ASSERT_TRUE(reader.feed({&byte, 1}));
  const ByteVector taken = reader.take();
  EXPECT_LE(taken.capacity(), 2 * stream.size());
}

// Streams that are refused: the fault, and the byte that shows it, however they are cut.
TEST(HelloReader, Refuses) {
  const ByteVector message = t::message(t::body(t::server_name("a.example")));
  const ByteVector half = t::records(Bytes(message).first(20));
  ByteVector sslv3 = t::records(message);
  sslv3[2] = 0;
  ByteVector tls14 = t::records(message);
  tls14[2] = 4;
  const auto text = [](std::string_view s) { return ByteVector(s.begin(), s.end()); };
  struct Row {
    std::string_view label;
    ByteVector stream;
    HelloFault fault;
    std::size_t at;
  };
  const Row table[] = {
      {"GET", text("GET / HTTP/1.1\r\n\r\n"), HelloFault::PlainHttp, 4},
      {"POST", text("POST /a HTTP/1.1\r\n"), HelloFault::PlainHttp, 5},
      {"PUT", text("PUT /a HTTP/1.1\r\n"), HelloFault::PlainHttp, 4},
      {"HEAD", text("HEAD / HTTP/1.0\r\n"), HelloFault::PlainHttp, 5},
      {"OPTIONS", text("OPTIONS * HTTP/1.1\r\n"), HelloFault::PlainHttp, 8},
      {"CONNECT", text("CONNECT a:443 HTTP/1.1\r\n"), HelloFault::PlainHttp, 8},
      {"DELETE", text("DELETE /a HTTP/1.1\r\n"), HelloFault::PlainHttp, 7},
      {"TRACE", text("TRACE / HTTP/1.1\r\n"), HelloFault::PlainHttp, 6},
      {"PATCH", text("PATCH /a HTTP/1.1\r\n"), HelloFault::PlainHttp, 6},
      {"HTTP/2 preface", text("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), HelloFault::PlainHttp, 4},
      {"no method", text("PROPFIND / HTTP/1.1\r\n"), HelloFault::NotTls, 3},
      {"methods have upper case", text("get / HTTP/1.1\r\n"), HelloFault::NotTls, 1},
      {"method without a space", text("GETS"), HelloFault::NotTls, 4},
      {"SSH", text("SSH-2.0-x\r\n"), HelloFault::NotTls, 1},
      {"SSLv2", {0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10}, HelloFault::NotTls, 1},
      {"NUL", {0}, HelloFault::NotTls, 1},
      {"alert", {21, 3, 1, 0, 2, 2, 70}, HelloFault::NotTls, 1},
      {"application data", {23, 3, 3, 0, 1, 0}, HelloFault::NotTls, 1},
      {"DTLS", {22, 0xfe, 0xfd, 0, 0}, HelloFault::NotTls, 2},
      {"SSL 3.0 record", sslv3, HelloFault::BadVersion, 3},
      {"TLS 1.3 as record version", tls14, HelloFault::BadVersion, 3},
      {"empty record", {22, 3, 1, 0, 0}, HelloFault::Malformed, 5},
      {"empty record amid", t::join({half, ByteVector{22, 3, 3, 0, 0}}), HelloFault::Malformed,
       half.size() + 5},
      {"record of 2^14 + 1", {22, 3, 1, 0x40, 1}, HelloFault::RecordOverflow, 5},
      {"record of 2^16 - 1", {22, 3, 1, 0xff, 0xff}, HelloFault::RecordOverflow, 5},
      {"server hello", {22, 3, 3, 0, 4, 2, 0, 0, 0}, HelloFault::Unexpected, 6},
      {"hello request", {22, 3, 3, 0, 4, 0, 0, 0, 0}, HelloFault::Unexpected, 6},
      {"application data amid", t::join({half, ByteVector{23, 3, 3, 0, 1}}),
       HelloFault::Unexpected, half.size() + 1},
      {"another version amid", t::join({half, ByteVector{22, 2}}), HelloFault::NotTls,
       half.size() + 2},
      {"empty message", {22, 3, 1, 0, 4, 1, 0, 0, 0}, HelloFault::Malformed, 9},
      {"empty message in four records",
       t::records(ByteVector{1, 0, 0, 0}, 1), HelloFault::Malformed, 24},
      {"short message", {22, 3, 1, 0, 5, 1, 0, 0, 1, 3}, HelloFault::Malformed, 10},
  };
  for (const Row& row : table) {
    for (std::size_t cut = 0; cut <= row.stream.size(); ++cut) {
      HelloReader reader;
      auto need = reader.feed(Bytes(row.stream).first(cut));
      // The byte that shows it, and none before.
      ASSERT_EQ(static_cast<bool>(need), cut < row.at) << row.label << " cut at " << cut;
      if (need) need = reader.feed(Bytes(row.stream).subspan(cut));
      ASSERT_FALSE(need) << row.label;
      EXPECT_EQ(hello_fault(need.error()), row.fault) << row.label;
    }
    EXPECT_EQ(read_bytewise(row.stream).fed, row.at) << row.label;
  }
}

// The message length over what the records bring is no fault, only a wait; what is shorter is one.
TEST(HelloReader, MessageLengthAgainstItsContents) {
  const ByteVector body = t::body(t::server_name("a.example"));
  ByteVector longer = t::message(body);
  longer[3] = static_cast<std::uint8_t>(longer[3] + 1);
  EXPECT_EQ(read(t::records(longer)).verdict, "more");
  EXPECT_EQ(read(t::records(t::join({longer, ByteVector{0}}))).verdict, "extensions length");
  ByteVector shorter = t::message(body);
  shorter[3] = static_cast<std::uint8_t>(shorter[3] - 1);
  EXPECT_EQ(read(t::records(shorter)).verdict, "extensions length");
}

// RFC 8446 §5.1: 0x0301 in a first hello, 0x0303 else; each record has its own.
TEST(HelloReader, RecordVersionsMayDiffer) {
  const ByteVector message = t::message(t::body(t::server_name("a.example")));
  ByteVector stream = t::records(message, 50);
  for (std::size_t i = 0, at = 0; at < stream.size(); ++i, at += 55)
    stream[at + 2] = static_cast<std::uint8_t>(1 + i % 3);
  EXPECT_EQ(read_bytewise(stream).verdict, "done");
}

TEST(HelloReader, TakeAfterAFault) {
  HelloReader reader;
  EXPECT_FALSE(reader.feed(as_bytes("GET / HTTP/1.1\r\n")));
  EXPECT_EQ(as_text(reader.take()), "GET / HTTP/1.1\r\n");
}

TEST(HelloReaderDeathTest, FeedingOnIsABug) {
  HelloReader done;
  ASSERT_TRUE(done.feed(t::stream(t::server_name("a.example"))));
  EXPECT_DEATH((void)done.feed({}), "state_");
  HelloReader failed;
  ASSERT_FALSE(failed.feed(as_bytes("x")));
  EXPECT_DEATH((void)failed.feed({}), "state_");
  EXPECT_DEATH((void)HelloReader().hello(), "state_");
}

}  // namespace
}  // namespace adit

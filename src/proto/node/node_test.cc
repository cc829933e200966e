#include <gtest/gtest.h>

#include <algorithm>

#include "base/byte_ring.h"
#include "base/prng.h"
#include "crypto/digest.h"
#include "proto/node/reply.h"
#include "proto/node/request.h"

namespace adit::node {
namespace {

RequestScanner::Verdict scan(RequestScanner& scanner, std::string_view text,
                             std::size_t piece = SIZE_MAX) {
  while (!text.empty()) {
    const std::size_t n = std::min(piece, text.size());
    const auto verdict = scanner.feed(as_bytes(text.substr(0, n)));
    if (verdict != RequestScanner::Verdict::More) return verdict;
    text.remove_prefix(n);
  }
  return RequestScanner::Verdict::More;
}

Parsed<Batch> batch_of(std::string_view text, std::size_t piece = SIZE_MAX) {
  RequestScanner scanner;
  EXPECT_EQ(scan(scanner, text, piece), RequestScanner::Verdict::More);
  return parse_batch(scanner);
}
Parsed<Op> single_of(std::string_view text) {
  RequestScanner scanner;
  EXPECT_EQ(scan(scanner, text), RequestScanner::Verdict::More);
  return parse_single(scanner);
}

class Held final : public PayloadSource {
 public:
  explicit Held(Bytes bytes) { ring.append(bytes); }
  Bytes peek(std::uint64_t offset) const override { return ring.peek(offset); }
  void hold(std::uint64_t) override { ++held; }
  void let_go(std::uint64_t) override { --held; }
  ByteRing ring;
  int held = 0;
};

std::string written(ReplyWriter writer, std::size_t room) {
  std::string out;
  ByteVector buffer(room);
  while (const std::size_t n = writer.read(buffer)) out += as_text(Bytes(buffer).first(n));
  EXPECT_EQ(out.size(), writer.size());
  return out;
}

TEST(NodeRequest, BatchInEveryFragmentation) {
  const std::string big(5000, 'Q');
  const std::string text = R"({"k":"s\u0033cret","ops":[{"op":"connect_data","host":"h.example",)"
                           R"("port":443,"d":")" + big + R"("},{"op":"data","sid":"x","seq":7,)"
                           R"("wseq":3,"d":null,"more":[{"k":"not this"}]},{"op":"Data"}],"zc":3})";
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, SIZE_MAX}) {
    RequestScanner scanner;
    ASSERT_EQ(scan(scanner, text, piece), RequestScanner::Verdict::More);
    ASSERT_NE(scanner.key(), nullptr);
    EXPECT_EQ(*scanner.key(), "s3cret");
    EXPECT_LT(scanner.skeleton().size(), 400u);
    auto parsed = parse_batch(scanner);
    const auto* batch = std::get_if<Batch>(&parsed);
    ASSERT_NE(batch, nullptr) << std::get<Fault>(parsed).text;
    ASSERT_EQ(batch->ops.size(), 3u);
    EXPECT_EQ(batch->ops[0].kind, OpKind::ConnectData);
    EXPECT_EQ(batch->ops[0].host, "h.example");
    EXPECT_EQ(batch->ops[0].port, 443);
    EXPECT_EQ(batch->ops[0].data, big);
    EXPECT_EQ(batch->ops[1].seq, 7u);
    EXPECT_EQ(batch->ops[1].wseq, 3u);
    EXPECT_FALSE(batch->ops[1].data);
    EXPECT_EQ(batch->ops[2].kind, OpKind::Unknown);
    EXPECT_EQ(batch->ops[2].name, "Data");
    EXPECT_EQ(batch->zc, 3);
  }
}

TEST(NodeRequest, LongStringsWithEscapes) {
  const std::string slashes(300, '/');
  std::string escaped;
  for (int i = 0; i < 300; ++i) escaped += "\\/";
  auto parsed = batch_of(R"({"k":"a","ops":[{"op":"data","sid":"s","d":")" + escaped + "\"}]}");
  ASSERT_TRUE(std::holds_alternative<Batch>(parsed));
  EXPECT_EQ(std::get<Batch>(parsed).ops[0].data, slashes);
  // Others stay with the parser.
  parsed = batch_of(R"({"k":"a","ops":[{"op":"data","sid":"s","d":"\u0041)" + slashes + "\"}]}");
  ASSERT_TRUE(std::holds_alternative<Batch>(parsed));
  EXPECT_EQ(std::get<Batch>(parsed).ops[0].data, "A" + slashes);
}

TEST(NodeRequest, Faults) {
  const std::pair<std::string_view, Fault::Kind> batches[] = {
      {"", Fault::Kind::Syntax},
      {"{", Fault::Kind::Syntax},
      {R"({"k":"a","ops":[]} x)", Fault::Kind::Syntax},
      {R"({"k":"a","ops":[{"op":"data","port":4 4}]})", Fault::Kind::Syntax},
      {"[]", Fault::Kind::Shape},
      {R"({"ops":[]})", Fault::Kind::Shape},
      {R"({"k":5,"ops":[]})", Fault::Kind::Shape},
      {R"({"k":"a"})", Fault::Kind::Shape},
      {R"({"k":"a","ops":{}})", Fault::Kind::Shape},
      {R"({"k":"a","ops":[5]})", Fault::Kind::Shape},
      {R"({"k":"a","ops":[{}]})", Fault::Kind::Shape},
      {R"({"k":"a","ops":[{"op":null}]})", Fault::Kind::Shape},
      {R"({"k":"a","ops":[{"op":"data","op":"data"}]})", Fault::Kind::Shape},
      {R"({"k":"a","ops":[{"op":"connect","port":70000}]})", Fault::Kind::Shape},
      {R"({"k":"a","ops":[{"op":"connect","port":-1}]})", Fault::Kind::Shape},
      {R"({"k":"a","ops":[{"op":"connect","port":1.5}]})", Fault::Kind::Shape},
      {R"({"k":"a","ops":[{"op":"data","sid":1}]})", Fault::Kind::Shape},
      {R"({"k":"a","ops":[],"zc":256})", Fault::Kind::Shape},
  };
  for (const auto& [text, kind] : batches) {
    const auto parsed = batch_of(text);
    const auto* fault = std::get_if<Fault>(&parsed);
    ASSERT_NE(fault, nullptr) << text;
    EXPECT_EQ(fault->kind, kind) << text << ": " << fault->text;
    EXPECT_FALSE(fault->text.empty());
  }
  EXPECT_TRUE(std::holds_alternative<Op>(single_of(R"({"k":"a","op":"close"} trailing)")));
  EXPECT_TRUE(std::holds_alternative<Fault>(single_of(R"({"op":"close"})")));
  EXPECT_TRUE(std::holds_alternative<Batch>(batch_of(R"({"k":"a","zops":"KLUv"})")));
}

TEST(NodeRequest, WhatWouldBeExpensiveIsRefusedBeforeTheParser) {
  RequestScanner deep;
  EXPECT_EQ(scan(deep, R"({"k":)" + std::string(200, '[')), RequestScanner::Verdict::TooComplex);
  RequestScanner wide;
  std::string text = R"({"k":"a","x":[)";
  for (int i = 0; i < 20000; ++i) text += "[],";
  EXPECT_EQ(scan(wide, text), RequestScanner::Verdict::TooComplex);
  RequestScanner wordy;
  EXPECT_EQ(scan(wordy, '{' + std::string(300'000, '1')), RequestScanner::Verdict::TooComplex);
  RequestScanner blanks;
  EXPECT_EQ(scan(blanks, std::string(300'000, ' ')), RequestScanner::Verdict::More);
  EXPECT_LE(blanks.skeleton().size(), 1u);
  RequestScanner longer({.body_bytes = 10});
  EXPECT_EQ(scan(longer, std::string(11, ' ')), RequestScanner::Verdict::TooLong);
}

TEST(NodeReply, MembersInTheirOrder) {
  const auto hello = as_bytes("hello");
  Held held(hello);
  std::vector<OpResult> results;
  OpResult r;
  r.sid = "a\"b";
  r.eof = false;
  results.push_back(std::move(r));
  r = {};
  r.sid = "s";
  r.d = Payload(held, 0, 5);
  r.eof = true;
  r.seq = 18;
  results.push_back(std::move(r));
  r = {};
  r.sid = "u";
  r.pkts = {{1}, {1, 2, 3}, {1, 2}};
  r.eof = false;
  results.push_back(std::move(r));
  results.push_back(unsupported("pi\"ng"));
  results.push_back(OpResult::error("missing sid"));
  EXPECT_EQ(held.held, 1);
  EXPECT_EQ(written(ReplyWriter(ReplyWriter::Form::Batch, std::move(results), 3), 64),
            R"({"r":[{"sid":"a\"b","eof":false},{"sid":"s","d":"aGVsbG8=","eof":true,"seq":18},)"
            R"({"sid":"u","pkts":["AQ==","AQID","AQI="],"eof":false},)"
            R"({"e":"unknown op: pi\"ng","code":"UNSUPPORTED_OP"},{"e":"missing sid"}],"zc":3})");
  EXPECT_EQ(held.held, 0);

  std::vector<OpResult> one(1);
  one[0].sid = "s";
  one[0].eof = true;
  EXPECT_EQ(written(ReplyWriter(ReplyWriter::Form::Single, std::move(one)), 64),
            R"({"sid":"s","eof":true})");
  EXPECT_EQ(written(ReplyWriter(ReplyWriter::Form::Batch, {}), 64), R"({"r":[]})");
  EXPECT_EQ(written(ReplyWriter(ReplyWriter::Form::Array, {}), 64), "[]");
}

TEST(NodeReply, PayloadOverManyChunksInAnyRoom) {
  Prng prng(7);
  ByteVector bytes(100'001);
  for (auto& b : bytes) b = static_cast<std::uint8_t>(prng.next());
  Held held(bytes);
  const std::string expected = crypto::base64_encode(Bytes(bytes).subspan(11));
  for (const std::size_t room : {64u, 65u, 1000u, 65536u, 1u << 20}) {
    std::vector<OpResult> results(1);
    results[0].d = Payload(held, 11, bytes.size());
    EXPECT_EQ(written(ReplyWriter(ReplyWriter::Form::Single, std::move(results)), room),
              "{\"d\":\"" + expected + "\"}");
  }
  EXPECT_EQ(held.held, 0);
}

TEST(NodeReply, SystemErrorsAsClientsKnowThem) {
  EXPECT_EQ(os_error_text(111), "Connection refused (os error 111)");
  EXPECT_EQ(os_error_text(101), "Network is unreachable (os error 101)");
  EXPECT_EQ(os_error_text(113), "No route to host (os error 113)");
}

}  // namespace
}  // namespace adit::node

#include "proto/link/flow_record.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace adit::link {
namespace {

using Kind = FlowRecord::Kind;

FlowOpen an_open() {
  return {ServiceNumber{7}, *Address::parse("192.0.2.1:5353"),
          *Address::parse("[2001:db8::1]:443"), "a.example.com"};
}

ByteVector written(const FlowRecord& r) {
  ByteVector out;
  write_flow_record(out, r);
  return out;
}

ByteVector record_of(ByteVector body) {
  ByteVector out;
  Writer w(out);
  w.varint(body.size());
  w.bytes(body);
  return out;
}

const std::vector<FlowRecord>& all_kinds() {
  static const std::vector<FlowRecord> records = {
      {Kind::Open, FlowNumber{1}, an_open(), {1, 2, 3}},
      {Kind::Open, FlowNumber{2}, {}, {}},
      {Kind::Opened, FlowNumber{1}, {}, {}},
      {Kind::Data, FlowNumber{1}, {}, ByteVector(limits::kDatagramPayloadMax, 9)},
      {Kind::Data, FlowNumber{std::uint64_t{1} << 40}, {}, {}},
      {Kind::Gone, FlowNumber{2}, {}, {}},
  };
  return records;
}

TEST(FlowRecord, ComesBackInAnyFragmentation) {
  ByteVector stream;
  for (const FlowRecord& r : all_kinds()) write_flow_record(stream, r);
  const std::size_t pieces[] = {1, 7, 1000, stream.size()};
  for (const std::size_t piece : pieces) {
    FlowRecordReader reader;
    std::vector<FlowRecord> seen;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      auto records = reader.feed(Bytes(stream).subspan(at, std::min(piece, stream.size() - at)));
      ASSERT_TRUE(records);
      for (FlowRecord& r : *records) seen.push_back(std::move(r));
    }
    EXPECT_EQ(seen, all_kinds());
  }
}

TEST(FlowRecord, Table) {
  struct Row {
    const char* name;
    ByteVector bytes;
    bool fine;
    std::size_t records;
  };
  ByteVector too_long;
  Writer(too_long).varint(limits::kFlowRecordBytesMax + 1);
  ByteVector cut = written(all_kinds()[0]);
  cut[0] = 20;  // the record ends within the addresses
  cut.resize(21);
  const Row rows[] = {
      {"nothing", {}, true, 0},
      {"half a length", {0x40}, true, 0},
      {"an unknown kind is skipped", record_of({9, 1, 2, 3}), true, 0},
      {"no flow number", record_of({0}), false, 0},
      {"flow 0", record_of({0, 0}), false, 0},
      {"empty record", record_of({}), false, 0},
      {"OPENED with more", record_of({2, 1, 1}), false, 0},
      {"GONE", record_of({3, 1}), true, 1},
      {"OPEN cut short", cut, false, 0},
      {"over the bound, by its length alone", too_long, false, 0},
      {"the bound, not there yet", {0x80, 0x01, 0x00, 0x00}, true, 0},
  };
  for (const Row& row : rows) {
    FlowRecordReader reader;
    auto records = reader.feed(row.bytes);
    EXPECT_EQ(static_cast<bool>(records), row.fine) << row.name;
    EXPECT_EQ(records ? records->size() : 0, row.records) << row.name;
  }
}

TEST(FlowRecord, ALongNameIsMalformed) {
  ByteVector body = {1, 1, 1};
  body.insert(body.end(), 36, 0);
  ByteVector fine = body, bad = body;
  Writer(fine).varint(255);
  fine.insert(fine.end(), 255, 'a');
  Writer(bad).varint(256);
  bad.insert(bad.end(), 256, 'a');
  EXPECT_TRUE(FlowRecordReader().feed(record_of(fine)));
  EXPECT_FALSE(FlowRecordReader().feed(record_of(bad)));
}

TEST(FlowDatagram, Table) {
  const std::uint64_t numbers[] = {1, 63, 64, 16383, 16384, 1ull << 30, 1ull << 61};
  for (const std::uint64_t number : numbers) {
    ByteVector out;
    write_flow_datagram(out, FlowNumber{number}, Bytes(ByteVector{1, 2, 3}));
    EXPECT_EQ(out.size(), 3 + flow_datagram_overhead(FlowNumber{number}));
    auto back = parse_flow_datagram(out);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->flow.value, number);
    EXPECT_EQ(back->payload, (ByteVector{1, 2, 3}));
  }
  EXPECT_FALSE(parse_flow_datagram({}));
  EXPECT_FALSE(parse_flow_datagram(Bytes(ByteVector{0, 1})));
  EXPECT_FALSE(parse_flow_datagram(Bytes(ByteVector{0x40})));
  auto empty = parse_flow_datagram(Bytes(ByteVector{5}));
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->payload.empty());
}

}  // namespace
}  // namespace adit::link

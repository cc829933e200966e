#include "proto/quic/frame_scan.h"

#include <gtest/gtest.h>

namespace adit::quic {
namespace {

struct ScanCase {
  const char* what;
  ByteVector payload;
  std::vector<std::pair<QuicStream, std::uint64_t>> found;
};

TEST(QuicFrameScan, Table) {
  const ScanCase cases[] = {
      {"nothing", {}, {}},
      {"alone", {0x05, 0x04, 0x07}, {{4, 7}}},
      {"large numbers", {0x05, 0x7f, 0xff, 0x80, 0, 0, 9}, {{0x3fff, 9}}},
      {"two", {0x05, 0, 1, 0x05, 4, 2}, {{0, 1}, {4, 2}}},
      {"behind padding and ping", {0, 0, 1, 0x05, 0, 1}, {{0, 1}}},
      {"behind ACK with two ranges", {2, 40, 0, 2, 1, 3, 3, 4, 4, 5, 0, 1}, {{0, 1}}},
      {"behind ACK with ECN", {3, 40, 0, 0, 1, 7, 8, 9, 5, 0, 1}, {{0, 1}}},
      {"behind STREAM with length", {0x0e, 4, 8, 2, 5, 5, 5, 0, 1}, {{0, 1}}},
      {"inside STREAM without length", {0x0c, 4, 8, 5, 0, 1}, {}},
      {"STREAM without offset", {0x0a, 4, 1, 5, 5, 0, 1}, {{0, 1}}},
      {"behind RESET_STREAM", {4, 0, 1, 2, 5, 0, 1}, {{0, 1}}},
      {"behind CRYPTO and NEW_TOKEN", {6, 0, 1, 5, 7, 1, 5, 5, 0, 1}, {{0, 1}}},
      {"behind limits",
       {0x10, 1, 0x11, 0, 1, 0x12, 1, 0x13, 1, 0x14, 1, 0x15, 0, 1, 0x16, 1, 0x17, 1, 0x19, 1,
        5, 0, 1},
       {{0, 1}}},
      {"behind NEW_CONNECTION_ID",
       {0x18, 1, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1},
       {{0, 1}}},
      {"behind path frames",
       {0x1a, 0, 0, 0, 0, 0, 0, 0, 0, 0x1b, 0, 0, 0, 0, 0, 0, 0, 0, 0x1e, 5, 0, 1},
       {{0, 1}}},
      {"behind DATAGRAM with length", {0x31, 1, 5, 5, 0, 1}, {{0, 1}}},
      {"inside DATAGRAM", {0x30, 5, 0, 1}, {}},
      {"behind CONNECTION_CLOSE", {0x1d, 0, 0, 5, 0, 1}, {}},
      {"behind an unknown frame", {0x21, 5, 0, 1}, {}},
      {"cut", {5, 0}, {}},
      {"a length beyond the packet", {0x31, 0x7f, 0xff, 5, 0, 1}, {}},
      {"ranges beyond the packet",
       {2, 40, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 5, 0, 1}, {}},
  };
  for (const auto& c : cases) {
    FrameFindings findings;
    scan_frames(c.payload, findings);
    const auto& out = findings.stopped;
    EXPECT_FALSE(findings.retires_ids) << c.what;
    ASSERT_EQ(out.size(), c.found.size()) << c.what;
    for (std::size_t i = 0; i < out.size(); ++i) {
      EXPECT_EQ(out[i].id, c.found[i].first) << c.what;
      EXPECT_EQ(out[i].code, c.found[i].second) << c.what;
    }
  }
}

TEST(QuicFrameScan, FindsRetirement) {
  ByteVector frame = {0x01, 0x18, 2, 1, 4, 9, 9, 9, 9};
  frame.resize(frame.size() + 16);
  FrameFindings findings;
  scan_frames(frame, findings);
  EXPECT_TRUE(findings.retires_ids);
}

}  // namespace
}  // namespace adit::quic

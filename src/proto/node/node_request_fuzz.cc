// The body of a request to the HTTP tunnel node: in any fragmentation it means the same, and what
// is answered to it is JSON of the length that was told.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "proto/codec/base64.h"
#include "proto/node/reply.h"
#include "proto/node/request.h"

namespace {

using namespace adit;
using namespace adit::node;

struct Outcome {
  RequestScanner::Verdict verdict = RequestScanner::Verdict::More;
  bool has_key = false;
  std::string key, fault;
  std::vector<Op> ops;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome(Bytes in, std::size_t piece, int form) {
  RequestScanner scanner;
  Outcome out;
  while (!in.empty() && out.verdict == RequestScanner::Verdict::More) {
    const std::size_t n = std::min(piece, in.size());
    out.verdict = scanner.feed(in.first(n));
    in = in.subspan(n);
  }
  if (out.verdict != RequestScanner::Verdict::More) return Outcome{out.verdict, false, {}, {}, {}};
  out.has_key = scanner.key() != nullptr;
  if (out.has_key) out.key = *scanner.key();
  if (form == 0) {
    auto parsed = parse_single(scanner);
    if (auto* op = std::get_if<Op>(&parsed)) out.ops.push_back(std::move(*op));
    if (auto* fault = std::get_if<Fault>(&parsed)) out.fault = fault->text;
  } else if (form == 1) {
    auto parsed = parse_batch(scanner);
    if (auto* batch = std::get_if<Batch>(&parsed)) out.ops = std::move(batch->ops);
    if (auto* fault = std::get_if<Fault>(&parsed)) out.fault = fault->text;
  } else {
    auto parsed = parse_ops(scanner);
    if (auto* ops = std::get_if<std::vector<Op>>(&parsed)) out.ops = std::move(*ops);
    if (auto* fault = std::get_if<Fault>(&parsed)) out.fault = fault->text;
  }
  return out;
}

void answer(std::vector<Op> ops) {
  std::vector<OpResult> results;
  for (Op& op : ops) {
    OpResult r = unsupported(op.name);
    r.sid = op.sid.value_or("");
    r.seq = op.seq;
    ByteVector bytes;
    if (!codec::base64_decode(op.data.value_or(""), bytes) && !bytes.empty())
      r.pkts.push_back(std::move(bytes));
    results.push_back(std::move(r));
  }
  ReplyWriter writer(ReplyWriter::Form::Batch, std::move(results), 1);
  std::uint8_t room[97];
  std::uint64_t size = 0;
  while (const std::size_t n = writer.read(room)) size += n;
  CHECK(size == writer.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes in(data + 1, size - 1);
  const int form = data[0] % 3;
  Outcome whole = outcome(in, SIZE_MAX, form);
  CHECK(whole == outcome(in, 1u + data[0] / 3, form));
  answer(std::move(whole.ops));
  return 0;
}

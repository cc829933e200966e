#include "proto/link/flow_record.h"

#include <algorithm>

#include "base/limits.h"

namespace adit::link {

namespace {

constexpr std::size_t kSniBytesMax = 255;

void write_address(Writer& w, const Address& a) {
  w.bytes(a.ip.bytes);
  w.u16(a.port);
}

Address read_address(Reader& r) {
  Address a;
  const Bytes ip = r.bytes(a.ip.bytes.size());
  if (r.ok()) std::copy(ip.begin(), ip.end(), a.ip.bytes.begin());
  a.port = r.u16();
  return a;
}

Error malformed() { return Error{0, "malformed flow record"}; }

// The body of a record; unset: of a kind that is not known here.
Result<std::optional<FlowRecord>> parse_body(Bytes body) {
  Reader r(body);
  FlowRecord out;
  out.kind = static_cast<FlowRecord::Kind>(r.varint());
  out.flow = FlowNumber{r.varint()};
  if (!r.ok() || out.flow.value == 0) return malformed();
  switch (out.kind) {
    case FlowRecord::Kind::Open: {
      const std::uint64_t service = r.varint();
      out.open.visitor = read_address(r);
      out.open.local = read_address(r);
      const Bytes sni =
          r.bytes(static_cast<std::size_t>(std::min<std::uint64_t>(r.varint(), kSniBytesMax + 1)));
      if (!r.ok() || service > UINT32_MAX || sni.size() > kSniBytesMax) return malformed();
      out.open.service = ServiceNumber{static_cast<std::uint32_t>(service)};
      out.open.sni = as_text(sni);
      break;
    }
    case FlowRecord::Kind::Data: break;
    case FlowRecord::Kind::Opened:
    case FlowRecord::Kind::Gone:
      if (!r.done()) return malformed();
      break;
    default: return std::optional<FlowRecord>();
  }
  const Bytes payload = r.bytes(r.left());
  if (payload.size() > limits::kDatagramPayloadMax) return malformed();
  out.payload.assign(payload.begin(), payload.end());
  return std::optional<FlowRecord>(std::move(out));
}

}  // namespace

void write_flow_record(ByteVector& out, const FlowRecord& record) {
  ByteVector body;
  body.reserve(record.payload.size() + 64);
  Writer w(body);
  w.varint(static_cast<std::uint64_t>(record.kind));
  w.varint(record.flow.value);
  if (record.kind == FlowRecord::Kind::Open) {
    CHECK(record.open.sni.size() <= kSniBytesMax);
    w.varint(record.open.service.value);
    write_address(w, record.open.visitor);
    write_address(w, record.open.local);
    w.varint(record.open.sni.size());
    w.text(record.open.sni);
  }
  w.bytes(record.payload);
  CHECK(body.size() <= limits::kFlowRecordBytesMax);
  Writer head(out);
  head.varint(body.size());
  head.bytes(body);
}

Result<std::vector<FlowRecord>> FlowRecordReader::feed(Bytes in) {
  buffer_.insert(buffer_.end(), in.begin(), in.end());
  std::vector<FlowRecord> out;
  std::size_t at = 0;
  for (;;) {
    Reader r(Bytes(buffer_).subspan(at));
    const std::uint64_t length = r.varint();
    if (!r.ok()) break;
    // Refused by its announced length: nothing is kept for what a peer only promises.
    if (length > limits::kFlowRecordBytesMax) return malformed();
    const Bytes body = r.bytes(static_cast<std::size_t>(length));
    if (!r.ok()) break;
    auto record = parse_body(body);
    if (!record) return std::move(record).error();
    if (*record) out.push_back(std::move(**record));
    at += r.position();
  }
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(at));
  return out;
}

void write_flow_datagram(ByteVector& out, FlowNumber flow, Bytes payload) {
  Writer w(out);
  w.varint(flow.value);
  w.bytes(payload);
}

Result<FlowRecord> parse_flow_datagram(Bytes in) {
  Reader r(in);
  FlowRecord out;
  out.flow = FlowNumber{r.varint()};
  if (!r.ok() || out.flow.value == 0) return malformed();
  const Bytes payload = r.bytes(r.left());
  if (payload.size() > limits::kDatagramPayloadMax) return malformed();
  out.payload.assign(payload.begin(), payload.end());
  return out;
}

std::size_t flow_datagram_overhead(FlowNumber flow) {
  return flow.value < 0x40 ? 1 : flow.value < 0x4000 ? 2 : flow.value < 0x40000000 ? 4 : 8;
}

}  // namespace adit::link

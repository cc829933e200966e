#include "proto/node/reply.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/log.h"
#include "base/result.h"
#include "proto/codec/base64.h"

namespace adit::node {

namespace {

using codec::base64_size;

void encode(Bytes in, MutableBytes out) {
  CHECK(out.size() >= base64_size(in.size()));
  codec::base64_encode(in, reinterpret_cast<char*>(out.data()));
}

// `"name":` behind a comma, unless it is the first member.
void add_name(std::string& out, std::string_view name) {
  if (out.back() != '{') out += ',';
  out.append("\"").append(name).append("\":");
}

}  // namespace

std::size_t OpResult::payload_bytes() const {
  std::size_t n = d.size();
  for (const ByteVector& p : pkts) n += p.size();
  return n;
}

OpResult unsupported(std::string_view name) {
  return OpResult::error("unknown op: " + std::string(name), "UNSUPPORTED_OP");
}

std::string os_error_text(int code) {
  std::string text = errno_error(code, "").what.substr(2);
  return text + " (os error " + std::to_string(code) + ")";
}

ReplyWriter::ReplyWriter(Form form, std::vector<OpResult> results, std::optional<std::uint8_t> zc)
    : form_(form), zc_(zc), results_(std::move(results)) {
  CHECK(form_ != Form::Single || results_.size() == 1);
  switch (form_) {
    case Form::Single: break;
    case Form::Batch: text_ = "{\"r\":["; break;
    case Form::Array: text_ = "["; break;
  }
  size_ = text_.size() + (form_ == Form::Batch ? 2 : form_ == Form::Array ? 1 : 0);
  if (zc_) size_ += std::string_view(",\"zc\":").size() + std::to_string(*zc_).size();
  for (std::size_t i = 0; i < results_.size(); ++i) {
    const OpResult& r = results_[i];
    size_ += head_of(r, i == 0).size() + tail_of(r).size();
    size_ += base64_size(r.d.size());
    for (const ByteVector& p : r.pkts) size_ += base64_size(p.size());
    // Quotes and commas between packets.
    if (!r.pkts.empty()) size_ += 3 * (r.pkts.size() - 1);
  }
}

// Up to the payload, its opening quote included.
std::string ReplyWriter::head_of(const OpResult& result, bool first) const {
  std::string out = first ? "{" : ",{";
  if (!result.sid.empty()) {
    add_name(out, "sid");
    append_json_string(out, result.sid);
  }
  if (result.d.size() > 0) {
    add_name(out, "d");
    out += '"';
  }
  if (!result.pkts.empty()) {
    add_name(out, "pkts");
    out += "[\"";
  }
  return out;
}

std::string ReplyWriter::tail_of(const OpResult& result) {
  std::string out = result.sid.empty() && result.d.size() == 0 && result.pkts.empty() ? "{" : " ";
  if (result.eof) {
    add_name(out, "eof");
    out += *result.eof ? "true" : "false";
  }
  if (!result.e.empty()) {
    add_name(out, "e");
    append_json_string(out, result.e);
  }
  if (!result.code.empty()) {
    add_name(out, "code");
    append_json_string(out, result.code);
  }
  if (result.seq) {
    add_name(out, "seq");
    out += std::to_string(*result.seq);
  }
  out.erase(0, 1);  // what add_name looked at
  out += '}';
  if (!result.pkts.empty()) return "\"]" + out;
  if (result.d.size() > 0) return '"' + out;
  return out;
}

// The text of the part that comes next.
void ReplyWriter::next_text() {
  text_.clear();
  text_at_ = 0;
  if (part_ == Part::Tail) {
    text_ = tail_of(results_[result_]);
    results_[result_] = OpResult();  // let go
    ++result_;
    part_ = Part::Open;
    return;
  }
  CHECK(part_ == Part::Open);
  if (result_ < results_.size()) {
    text_ = head_of(results_[result_], result_ == 0);
    at_ = packet_ = 0;
    part_ = results_[result_].d.size() > 0     ? Part::Payload
            : !results_[result_].pkts.empty() ? Part::Packets
                                              : Part::Tail;
    return;
  }
  part_ = Part::End;
  if (form_ == Form::Single) return;
  text_ = "]";
  if (form_ == Form::Array) return;
  if (zc_) text_ += ",\"zc\":" + std::to_string(*zc_);
  text_ += "}";
}

std::size_t ReplyWriter::read(MutableBytes out) {
  CHECK(out.size() >= kRoomMin);
  std::size_t filled = 0;
  while (out.size() - filled >= 4) {
    const MutableBytes room = out.subspan(filled);
    if (text_at_ < text_.size()) {
      filled += take_text(room);
    } else if (part_ == Part::Payload) {
      filled += take_payload(room, results_[result_]);
    } else if (part_ == Part::Packets) {
      filled += take_packets(room, results_[result_]);
    } else if (part_ == Part::End) {
      break;
    } else {
      next_text();
    }
  }
  return filled;
}

std::size_t ReplyWriter::take_text(MutableBytes out) {
  const std::size_t n = std::min(out.size(), text_.size() - text_at_);
  std::copy_n(text_.begin() + static_cast<std::ptrdiff_t>(text_at_), n, out.begin());
  text_at_ += n;
  return n;
}

// Whole groups of three bytes; one that lies across two runs is put together first.
std::size_t ReplyWriter::take_payload(MutableBytes out, const OpResult& result) {
  const std::size_t left = result.d.size() - at_;
  const Bytes run = result.d.peek(at_);
  if (run.size() >= 3) {
    const std::size_t groups = std::min(run.size() / 3, out.size() / 4);
    encode(run.first(groups * 3), out);
    at_ += groups * 3;
    if (at_ == result.d.size()) part_ = Part::Tail;
    return groups * 4;
  }
  std::array<std::uint8_t, 3> group{};
  const std::size_t n = std::min<std::size_t>(3, left);
  for (std::size_t i = 0; i < n; ++i) group[i] = result.d.peek(at_ + i).front();
  encode(Bytes(group).first(n), out);
  at_ += n;
  if (at_ == result.d.size()) part_ = Part::Tail;
  return 4;
}

std::size_t ReplyWriter::take_packets(MutableBytes out, const OpResult& result) {
  const Bytes rest = Bytes(result.pkts[packet_]).subspan(at_);
  const std::size_t n = std::min(rest.size(), out.size() / 4 * 3);
  encode(rest.first(n), out);
  at_ += n;
  if (at_ == result.pkts[packet_].size()) {
    at_ = 0;
    ++packet_;
    if (packet_ == result.pkts.size()) {
      part_ = Part::Tail;
    } else {
      text_ = "\",\"";
      text_at_ = 0;
    }
  }
  return base64_size(n);
}

}  // namespace adit::node

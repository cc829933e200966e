// Replies of the HTTP tunnel node: results, and their JSON written a piece at a time. What a
// session sends down is never copied: base64 goes from where the session holds it straight into the
// response.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace adit::node {

// Where a session keeps what it received, by offset.
class PayloadSource {
 public:
  // The longest contiguous run from `offset` on; not empty within what is held.
  virtual Bytes peek(std::uint64_t offset) const = 0;
  // From hold() to let_go() the bytes from `offset` on stay where they are, and so does the source.
  virtual void hold(std::uint64_t offset) = 0;
  virtual void let_go(std::uint64_t offset) = 0;

 protected:
  ~PayloadSource() = default;
};

// A part of a source, held.
class Payload {
 public:
  Payload() = default;
  Payload(PayloadSource& source, std::uint64_t begin, std::uint64_t end)
      : source_(&source), begin_(begin), end_(end) {
    source_->hold(begin_);
  }
  Payload(Payload&& o) noexcept
      : source_(std::exchange(o.source_, nullptr)), begin_(o.begin_), end_(o.end_) {}
  Payload& operator=(Payload&& o) noexcept {
    std::swap(source_, o.source_);
    std::swap(begin_, o.begin_);
    std::swap(end_, o.end_);
    return *this;
  }
  ~Payload() {
    if (source_ != nullptr) source_->let_go(begin_);
  }

  std::size_t size() const {
    return source_ == nullptr ? 0 : static_cast<std::size_t>(end_ - begin_);
  }
  // From the `at`-th byte on; empty at the end.
  Bytes peek(std::size_t at) const {
    if (at >= size()) return {};
    const Bytes run = source_->peek(begin_ + at);
    return run.first(std::min(run.size(), size() - at));
  }

 private:
  PayloadSource* source_ = nullptr;
  std::uint64_t begin_ = 0, end_ = 0;
};

// Members in the order in which they are written; what is unset or empty is left out.
struct OpResult {
  std::string sid;
  Payload d;
  std::vector<ByteVector> pkts;
  std::optional<bool> eof;
  std::string e, code;
  std::optional<std::uint64_t> seq;

  static OpResult error(std::string text, std::string code = {}) {
    OpResult out;
    out.e = std::move(text);
    out.code = std::move(code);
    return out;
  }
  std::size_t payload_bytes() const;
};

// "unknown op: X" and its code.
OpResult unsupported(std::string_view name);

// {"sid":…} of one result, or {"r":[…]} of several; of `zc` (what the client is told) behind it.
class ReplyWriter {
 public:
  enum class Form : std::uint8_t {
    Single,
    Batch,
    Array,  // of results alone: what is compressed
  };

  ReplyWriter(Form form, std::vector<OpResult> results, std::optional<std::uint8_t> zc = {});

  // Of all of it, in bytes.
  std::uint64_t size() const { return size_; }
  // Fills `out` (of at least kRoomMin bytes) from the front, perhaps not all of it. 0: that was
  // all. What was written is not held any more.
  std::size_t read(MutableBytes out);
  static constexpr std::size_t kRoomMin = 64;

 private:
  std::string head_of(const OpResult& result, bool first) const;
  static std::string tail_of(const OpResult& result);
  void next_text();
  std::size_t take_text(MutableBytes out);
  std::size_t take_payload(MutableBytes out, const OpResult& result);
  std::size_t take_packets(MutableBytes out, const OpResult& result);

  enum class Part : std::uint8_t { Open, Head, Payload, Packets, Tail, End };
  const Form form_;
  const std::optional<std::uint8_t> zc_;
  std::vector<OpResult> results_;
  std::uint64_t size_ = 0;
  Part part_ = Part::Open;  // that comes behind text_
  std::size_t result_ = 0, at_ = 0, packet_ = 0;
  std::string text_;
  std::size_t text_at_ = 0;
};

// "Connection refused (os error 111)": how clients know system errors.
std::string os_error_text(int code);

}  // namespace adit::node

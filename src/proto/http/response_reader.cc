#include "proto/http/response_reader.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>

#include "base/limits_acme.h"

namespace adit::http {
namespace {

Error malformed(std::string_view what) {
  return Error{EPROTO, "not a response of HTTP/1.1: " + std::string(what)};
}

// RFC 9110 §5.6.2
bool is_token(std::string_view s) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !s.empty() && std::ranges::all_of(s, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kOthers.find(c) != kOthers.npos;
  });
}

bool is_field_value(std::string_view s) {
  return std::ranges::all_of(s, [](char c) {
    return c == '\t' || (static_cast<unsigned char>(c) >= ' ' && c != 0x7f);
  });
}

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

// Digits only: no sign, no blank.
std::optional<std::uint64_t> number(std::string_view s, int base) {
  std::uint64_t out = 0;
  const auto read = std::from_chars(s.data(), s.data() + s.size(), out, base);
  if (s.empty() || s.front() == '-' || read.ec != std::errc{} || read.ptr != s.data() + s.size())
    return std::nullopt;
  return out;
}

}  // namespace

bool ResponseReader::in_lines() const {
  return state_ != State::Body && state_ != State::Chunk && state_ != State::ToEnd &&
         state_ != State::Done;
}

Result<ResponseReader::Need> ResponseReader::feed(Bytes in) {
  while (!in.empty() && state_ != State::Done) {
    if (in_lines()) {
      const char c = static_cast<char>(in.front());
      in = in.subspan(1);
      if (++head_bytes_ > limits::kHttpAnswerHeadBytesMax) return malformed("a head over 32 KiB");
      if (c != '\n') {
        line_ += c;
        continue;
      }
      if (line_.ends_with('\r')) line_.pop_back();
      const std::string line = std::exchange(line_, {});
      if (Status ok = on_line(line); !ok) return std::move(ok).error();
      continue;
    }
    const std::size_t n = state_ == State::ToEnd
                              ? in.size()
                              : static_cast<std::size_t>(std::min<std::uint64_t>(left_, in.size()));
    if (response_.body.size() + n > limits::kHttpBodyBytesMax)
      return malformed("a body over 1 MiB");
    response_.body += as_text(in.first(n));
    in = in.subspan(n);
    if (state_ == State::ToEnd) continue;
    left_ -= n;
    if (left_ == 0) state_ = state_ == State::Chunk ? State::ChunkEnd : State::Done;
  }
  return state_ == State::Done ? Need::Done : Need::More;
}

Result<ResponseReader::Need> ResponseReader::end() {
  if (state_ == State::ToEnd) state_ = State::Done;
  if (state_ == State::Done) return Need::Done;
  return Error{ECONNRESET, "the server ended the connection amid its answer"};
}

Status ResponseReader::on_line(std::string_view line) {
  switch (state_) {
    case State::StatusLine: return on_status_line(line);
    case State::Fields: return line.empty() ? on_head() : on_field(line);
    case State::ChunkSize: return on_chunk_size(line);
    case State::ChunkEnd:
      if (!line.empty()) return malformed("a chunk that is longer than it says");
      state_ = State::ChunkSize;
      return {};
    case State::Trailers:
      if (line.empty()) state_ = State::Done;
      return {};
    case State::Body:
    case State::ToEnd:
    case State::Chunk:
    case State::Done: break;
  }
  return {};
}

// RFC 9112 §4: HTTP-version SP status-code SP [ reason-phrase ]
Status ResponseReader::on_status_line(std::string_view line) {
  const bool known = line.starts_with("HTTP/1.1 ") || line.starts_with("HTTP/1.0 ");
  if (!known || line.size() < 12 || (line.size() > 12 && line[12] != ' ') ||
      !is_field_value(line))
    return malformed("its first line");
  const auto status = number(line.substr(9, 3), 10);
  if (!status || *status < 100 || *status > 599) return malformed("its status");
  response_.status = static_cast<int>(*status);
  state_ = State::Fields;
  return {};
}

Status ResponseReader::on_field(std::string_view line) {
  const std::size_t colon = line.find(':');
  // RFC 9112 §5.1, §5.2: no blank before the colon, no folded lines.
  if (colon == line.npos || !is_token(line.substr(0, colon)) ||
      !is_field_value(line.substr(colon + 1)))
    return malformed("a field that is not NAME: VALUE");
  response_.fields.emplace_back(lower(line.substr(0, colon)),
                                std::string(trimmed(line.substr(colon + 1))));
  return {};
}

// RFC 9112 §6.3: where the body ends.
Status ResponseReader::on_head() {
  if (response_.status < 200) {
    // RFC 9110 §15.2: interim; the final one follows. 101 was never asked for.
    if (response_.status == 101) return malformed("it switches protocols");
    response_ = {};
    state_ = State::StatusLine;
    return {};
  }
  const std::string_view coding = response_.field("transfer-encoding");
  std::optional<std::uint64_t> length;
  std::size_t codings = 0;
  for (const auto& [name, value] : response_.fields) {
    codings += name == "transfer-encoding";
    if (name != "content-length") continue;
    const auto said = number(value, 10);
    if (!said || (length && *length != *said)) return malformed("its Content-Length");
    length = said;
  }
  if (to_head_ || response_.status == 204 || response_.status == 304) {
    state_ = State::Done;
  } else if (codings > 0) {
    if (codings > 1 || lower(coding) != "chunked" || length)
      return malformed("its Transfer-Encoding");
    state_ = State::ChunkSize;
  } else if (length) {
    if (*length > limits::kHttpBodyBytesMax) return malformed("a body over 1 MiB");
    left_ = *length;
    state_ = left_ > 0 ? State::Body : State::Done;
  } else {
    state_ = State::ToEnd;
  }
  return {};
}

Status ResponseReader::on_chunk_size(std::string_view line) {
  const auto size = number(trimmed(line.substr(0, line.find(';'))), 16);
  if (!size || *size > limits::kHttpBodyBytesMax) return malformed("the size of a chunk");
  left_ = *size;
  state_ = left_ > 0 ? State::Chunk : State::Trailers;
  return {};
}

}  // namespace adit::http

// The head of one HTTP/1.1 message (RFC 9112), fed in any fragmentation, for what changes protocol
// behind it: CONNECT and Upgrade. Parsed by llhttp in its strict mode.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/limits.h"

namespace adit::http1 {

struct Field {
  std::string name;   // lower case
  std::string value;  // without white space around it
};

struct Head {
  std::string method, target;  // of a request
  int status = 0;              // of a response
  int minor_version = 1;       // of HTTP/1
  std::vector<Field> fields;   // in order

  // The first field of that name (lower case); empty where there is none.
  std::string_view field(std::string_view name) const;
  // Whether a field that is a list (RFC 9110 §5.6.1) has the token, in any case, in any of its
  // lines.
  bool lists(std::string_view name, std::string_view token) const;
};

class HeadReader {
 public:
  enum class Kind : std::uint8_t { Request, Response };
  enum class Verdict : std::uint8_t { More, Done, Malformed, TooLong };

  explicit HeadReader(Kind kind, std::size_t bytes_max = limits::kHttpHeadBytesMax);
  ~HeadReader();
  HeadReader(const HeadReader&) = delete;
  HeadReader& operator=(const HeadReader&) = delete;

  // Not to be called again after another verdict than More.
  Verdict feed(Bytes in);
  bool started() const { return fed_ > 0; }

  // After Done.
  const Head& head() const { return head_; }
  // What was fed behind the head; points into the bytes last fed.
  Bytes rest() const { return rest_; }
  // After Malformed: what is wrong, for the peer.
  const std::string& fault() const { return fault_; }

 private:
  struct Parser;
  friend struct Parser;

  std::unique_ptr<Parser> parser_;
  const std::size_t bytes_max_;
  std::size_t fed_ = 0;
  Head head_;
  Bytes rest_;
  std::string fault_;
};

}  // namespace adit::http1

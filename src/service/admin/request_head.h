// The head of an HTTP/1.1 request (RFC 9112), fed in any fragmentation; as much of it as an admin
// socket needs: method and path. The other fields are checked for their form only.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/limits.h"

namespace adit::service {

class RequestHead {
 public:
  enum class Verdict { More, Done, Malformed, TooLong };

  explicit RequestHead(std::size_t bytes_max = limits::kAdminHeadBytesMax)
      : bytes_max_(bytes_max) {}

  // What follows the head is not looked at. Not to be called again after another verdict than More.
  Verdict feed(Bytes in);
  bool started() const { return !head_.empty(); }

  // After Done; they point into this object.
  std::string_view method() const { return method_; }
  std::string_view path() const { return path_; }  // without the query
  // After Malformed: what is wrong, for the client.
  std::string_view fault() const { return fault_; }

 private:
  Verdict parse();
  bool parse_request_line(std::string_view line);
  bool parse_field(std::string_view line);
  bool wrong(std::string_view what);

  const std::size_t bytes_max_;
  std::string head_;
  std::size_t line_start_ = 0;  // of the line that is not complete yet
  std::string_view method_, path_, fault_;
  bool needs_host_ = false, has_host_ = false;
};

}  // namespace adit::service

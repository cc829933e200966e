// Header fields of HTTP (RFC 9110 §5), whichever version carries them, and heads of messages.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace adit::http {

struct Field {
  std::string name;   // lower case
  std::string value;  // without white space around it

  bool operator==(const Field&) const = default;
};

using Fields = std::vector<Field>;  // in their order

// The first field of that name (lower case); empty where there is none.
std::string_view field(const Fields& fields, std::string_view name);
bool has(const Fields& fields, std::string_view name);
// Whether a field that is a list (RFC 9110 §5.6.1) has the token, in any case, in any of its lines.
bool lists(const Fields& fields, std::string_view name, std::string_view token);
// The elements of such a field, of all its lines, in order; empty ones are left out. Quoted commas
// are not known: for fields of tokens.
std::vector<std::string_view> elements(const Fields& fields, std::string_view name);

bool same_text(std::string_view a, std::string_view b);  // but for ASCII case
std::string lower_text(std::string_view s);
std::string_view trimmed(std::string_view s);  // of SP and HTAB
bool is_token(std::string_view s);             // RFC 9110 §5.6.2
bool is_field_value(std::string_view s);       // no control character but HTAB

// What is for one connection alone and never passed on: those that Connection lists, and those that
// RFC 9110 §7.6.1 and RFC 9113 §8.2.2 name. Proxy-* credentials are not among them.
void remove_hop_by_hop(Fields& fields);

// A request as a server has it.
struct RequestHead {
  std::string method;
  std::string scheme;     // "https" or "http", in lower case
  std::string authority;  // host and port as the client wrote them, in lower case
  std::string target;     // "/path?query", or "*"; empty for CONNECT
  Fields fields;          // without Host and Content-Length
  int version = 1;        // 1 or 2
  int minor_version = 1;  // of HTTP/1
  // Of the body where the client says so.
  std::optional<std::uint64_t> length;
  bool has_body = false;
};

// Why no server has an answer to such a request, whichever version brought it; empty: it is one.
// `target`, scheme and authority as described above (RFC 9110 §4.2 and §7.1, RFC 9113 §8.3.1); an
// empty authority only where the caller lets one through.
std::string_view request_fault(const RequestHead& head);

// A response as its sender gives it. What frames it on the wire is the server's: fields that say
// how it is framed, or that are for one connection alone, are left out of `fields`.
struct ResponseHead {
  int status = 0;
  Fields fields;
  // Of the body; none: it ends where the sender ends it. For HEAD and 304: what would have come.
  std::optional<std::uint64_t> length{};
};

// Responses to HEAD, and with these statuses, have no body (RFC 9110 §6.4.1).
bool has_no_body(int status, std::string_view method);

// "OK"; empty for a status without a name.
std::string_view reason(int status);
// RFC 9110 §5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT".
std::string date_text(WallTime at);

}  // namespace adit::http

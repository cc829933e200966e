// A request and a response of HTTP/1.1 (RFC 9110, RFC 9112) as values.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace adit::http {

struct Request {
  std::string method = "GET";
  std::string url;           // https
  std::string content_type;  // of the body; empty: none
  std::string accept;        // empty: no such field
  std::string body;

  bool operator==(const Request&) const = default;
};

struct Response {
  int status = 0;
  // Names in lower case, values without blanks around them; in their order.
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;

  // The first one of that name (in lower case); empty where there is none.
  std::string_view field(std::string_view name) const {
    for (const auto& [key, value] : fields)
      if (key == name) return value;
    return {};
  }
};

}  // namespace adit::http

#include "service/agent/http_texts.h"

#include <algorithm>
#include <array>

namespace adit::service {

namespace {

constexpr std::array<std::string_view, 8> kForwardingFields = {
    "forwarded",         "x-forwarded-for",  "x-forwarded-proto", "x-forwarded-host",
    "x-forwarded-port",  "x-real-ip",        "x-forwarded-by",    "x-forwarded-server"};

// RFC 7239 §4: what is no token is quoted; of the characters that an authority may have here, none
// needs a backslash.
std::string quoted(std::string_view value) {
  return http::is_token(value) ? std::string(value) : "\"" + std::string(value) + "\"";
}

void add(std::string& to, std::string_view name, std::string_view value) {
  to.append(name).append(": ").append(value).append("\r\n");
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

HttpPage page(int status, std::string body, std::string_view type) {
  HttpPage out;
  out.head.status = status;
  out.head.fields = {{"content-type", std::string(type) + "; charset=utf-8"},
                     {"cache-control", "no-store"}};
  out.head.length = body.size();
  out.body = std::move(body);
  return out;
}

bool accepts_html(const http::RequestHead& request) {
  const auto all = http::elements(request.fields, "accept");
  return std::ranges::any_of(all, [](std::string_view one) {
    return http::same_text(http::trimmed(one.substr(0, one.find(';'))), "text/html");
  });
}

}  // namespace

std::string_view host_of(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  std::string_view host = authority.substr(0, authority.find(':'));
  if (host.ends_with('.')) host.remove_suffix(1);
  return host;
}

bool asks_for_upgrade(const http::RequestHead& request) {
  if (request.version != 1 || request.has_body || request.minor_version == 0 ||
      !http::lists(request.fields, "connection", "upgrade"))
    return false;
  const auto wanted = http::elements(request.fields, "upgrade");
  return !wanted.empty() && std::ranges::none_of(wanted, [](std::string_view protocol) {
    return http::same_text(protocol, "h2c") || http::same_text(protocol, "h2") ||
           http::same_text(protocol.substr(0, 4), "tls/") ||
           http::same_text(protocol.substr(0, 5), "http/");
  });
}

std::string forwarded_head(const http::RequestHead& request, const IpAddress& visitor,
                           bool upgrade) {
  std::string out = request.method + " " + request.target + " HTTP/1.1\r\n";
  add(out, "Host", request.authority);
  http::Fields fields = request.fields;
  http::remove_hop_by_hop(fields);
  std::erase_if(fields, [](const http::Field& f) {
    return std::ranges::find(kForwardingFields, f.name) != kForwardingFields.end();
  });
  for (const http::Field& f : fields) add(out, f.name, f.value);
  const std::string address = visitor.text();
  const std::string node = visitor.is_v4() ? address : "\"[" + address + "]\"";
  add(out, "Forwarded",
      "for=" + node + ";host=" + quoted(request.authority) + ";proto=https");
  add(out, "X-Forwarded-For", address);
  add(out, "X-Forwarded-Proto", "https");
  add(out, "X-Forwarded-Host", request.authority);
  if (upgrade) {
    std::string protocols;
    for (const std::string_view one : http::elements(request.fields, "upgrade"))
      protocols.append(protocols.empty() ? "" : ", ").append(one);
    add(out, "Connection", "Upgrade");
    add(out, "Upgrade", protocols);
  }
  if (request.length) {
    add(out, "Content-Length", std::to_string(*request.length));
  } else if (request.has_body) {
    add(out, "Transfer-Encoding", "chunked");
  }
  return out + "\r\n";
}

HttpPage trouble_page(const http::RequestHead& request, const HttpTrouble& trouble,
                      std::string_view visitor_id) {
  const std::string title =
      std::to_string(trouble.status) + " " + std::string(http::reason(trouble.status));
  const std::string explain = "adit explain " + std::string(visitor_id);
  if (!accepts_html(request)) {
    return page(trouble.status,
                title + "\n\nyou to the relay        fine\nrelay to the agent      fine\n"
                        "agent to the service    the service " +
                    std::string(trouble.what) + "\n\nWhoever runs it can ask: " + explain + "\n",
                "text/plain");
  }
  return page(
      trouble.status,
      "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width\"><title>" + title +
          "</title><h1>" + title + "</h1><p>What you sent got as far as the agent of <b>" +
          escaped(request.authority) + "</b>, and not to the service behind it.</p>"
          "<ul><li>you to the relay: fine</li><li>relay to the agent: fine</li>"
          "<li><b>agent to the service: the service " + escaped(trouble.what) +
          "</b></li></ul><p>Whoever runs it can ask: <code>" + explain + "</code></p></html>\n",
      "text/html");
}

HttpPage misdirected_page(std::string_view visitor_id) {
  return page(421,
              "421 Misdirected Request\n\nThis service has another name.\n\n"
              "Whoever runs it can ask: adit explain " + std::string(visitor_id) + "\n",
              "text/plain");
}

}  // namespace adit::service

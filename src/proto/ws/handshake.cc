#include "proto/ws/handshake.h"

#include "crypto/digest.h"
#include "crypto/random.h"

namespace adit::ws {

namespace {

constexpr std::string_view kVersion = "13";

// RFC 6455 §4.2.2, 5.4: the key, then this constant, hashed.
std::string accept_of(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  return crypto::base64_encode(crypto::sha1(as_bytes(text)));
}

Error status(int code, std::string_view why) { return Error{code, std::string(why)}; }

}  // namespace

std::string new_key() {
  std::array<std::uint8_t, 16> bytes{};
  crypto::random_bytes(bytes);
  return crypto::base64_encode(bytes);
}

std::string upgrade_request(std::string_view host, std::string_view target, std::string_view key,
                            std::string_view protocol) {
  std::string out;
  out.append("GET ").append(target).append(" HTTP/1.1\r\nHost: ").append(host);
  out.append("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: ");
  out.append(kVersion).append("\r\nSec-WebSocket-Key: ").append(key);
  out.append("\r\nSec-WebSocket-Protocol: ").append(protocol);
  return out.append("\r\n\r\n");
}

Status check_response(const http1::Head& response, std::string_view key,
                      std::string_view protocol) {
  if (response.status != 101)
    return Error{response.status, "the answer is " + std::to_string(response.status) +
                                      " and not 101 (WebSocket)"};
  if (!response.lists("upgrade", "websocket") || !response.lists("connection", "upgrade"))
    return Error{0, "the answer upgrades to something else than WebSocket"};
  if (response.field("sec-websocket-accept") != accept_of(key))
    return Error{0, "the answer is to another request (Sec-WebSocket-Accept)"};
  if (response.field("sec-websocket-protocol") != protocol)
    return Error{0, "the answer names another protocol"};
  if (!response.field("sec-websocket-extensions").empty())
    return Error{0, "the answer has extensions that were not asked for"};
  return {};
}

bool asks_for_websocket(const http1::Head& request) {
  return request.lists("upgrade", "websocket");
}

Result<http::Fields> accept_fields(const http1::Head& request, std::string_view protocol) {
  if (request.method != "GET") return status(400, "WebSocket begins with GET");
  if (request.minor_version < 1) return status(400, "WebSocket begins with HTTP/1.1");
  if (!request.lists("connection", "upgrade")) return status(400, "no Connection: Upgrade");
  if (request.field("sec-websocket-version") != kVersion)
    return status(426, "Sec-WebSocket-Version has to be 13");
  const std::string_view key = request.field("sec-websocket-key");
  const auto bytes = crypto::base64_decode(key);
  if (!bytes || bytes->size() != 16) return status(400, "Sec-WebSocket-Key is not 16 bytes");
  if (!request.lists("sec-websocket-protocol", protocol))
    return status(400, "Sec-WebSocket-Protocol does not offer " + std::string(protocol));
  return http::Fields{{"upgrade", "websocket"},
                      {"sec-websocket-accept", accept_of(key)},
                      {"sec-websocket-protocol", std::string(protocol)}};
}

Result<std::string> accept_response(const http1::Head& request, std::string_view protocol) {
  auto fields = accept_fields(request, protocol);
  if (!fields) return std::move(fields).error();
  std::string out = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n";
  for (const http::Field& f : *fields) out.append(f.name).append(": ").append(f.value) += "\r\n";
  return out + "\r\n";
}

}  // namespace adit::ws

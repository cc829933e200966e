// The opening handshake of WebSocket (RFC 6455 §4), for both ends.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "proto/http1/head_reader.h"

namespace adit::ws {

// Client: 16 random bytes, encoded.
std::string new_key();
std::string upgrade_request(std::string_view host, std::string_view target, std::string_view key,
                            std::string_view protocol);
// Whether `response` accepts the request with this key and protocol; else why not, in words.
Status check_response(const http1::Head& response, std::string_view key, std::string_view protocol);

// Server: whether a request asks for WebSocket at all.
bool asks_for_websocket(const http1::Head& request);
// The answer that accepts it. An error: its text for the client, and the status as its code (400;
// 426 with Sec-WebSocket-Version: 13).
Result<std::string> accept_response(const http1::Head& request, std::string_view protocol);
// The same for whoever writes the head itself: the fields behind 101, but for Connection.
Result<http::Fields> accept_fields(const http1::Head& request, std::string_view protocol);

}  // namespace adit::ws

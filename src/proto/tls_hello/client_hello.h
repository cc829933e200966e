// What a router needs of a TLS ClientHello (RFC 8446 §4.1.2): who is asked for and for which
// protocol. The hello itself is answered by whoever terminates TLS; here it is only read.
#pragma once

#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "proto/tls_hello/tls_alert.h"

namespace adit {

// Why a hello was refused. The values are the errno in the Error's `code`, so that Error keeps its
// meaning and the fault survives with().
enum class HelloFault : int {
  NotTls = EPROTONOSUPPORT,    // junk, an SSLv2 hello, another record type: just close
  PlainHttp = EPROTOTYPE,      // "GET " and its like: HTTP/1.1 400 tells that this port speaks TLS
  TooLarge = EMSGSIZE,         // not whole within limits::kHelloBytesMax, or too many ALPN names
  RecordOverflow = EOVERFLOW,  // RFC 8446 §5.1: a fragment over 2^14 bytes
  Unexpected = ENOMSG,         // another message, or another record amid the hello
  BadVersion = EPROTO,         // SSL 3.0, or a record version that nobody sends
  Malformed = EBADMSG,         // a length, an order or a repetition that the RFC forbids
  BadName = EILSEQ,            // a server name that is neither a DNS name nor an address
};

Error hello_error(HelloFault fault, std::string_view what);
// The fault behind an Error of parse_client_hello() or HelloReader::feed(); of no other Error.
HelloFault hello_fault(const Error& error);
// What to send before the close; nothing where the peer would not understand an alert.
std::optional<TlsAlert> alert(HelloFault fault);

struct ClientHello {
  // The outer server_name (RFC 6066 §3), a DNS name of 1 to 253 bytes: lower case, without the
  // trailing dot. Empty: none was sent, or it was an address literal.
  std::string sni;
  // RFC 7301 §3.1, as sent, in the client's order of preference, 1 to 255 bytes each; GREASE values
  // (RFC 8701) are among them.
  std::vector<std::string> alpn;
  // RFC 9849: encrypted_client_hello was offered, or GREASE that looks like it. `sni` is then the
  // public name of whoever can decrypt the inner hello, and what is routed on.
  bool has_ech = false;

  bool offers(std::string_view protocol) const;

  bool operator==(const ClientHello&) const = default;
};

// `body`: the message behind its four bytes of type and length, whole; from TLS records or from
// QUIC CRYPTO frames alike. Work and memory are linear in its size.
Result<ClientHello> parse_client_hello(Bytes body);

}  // namespace adit

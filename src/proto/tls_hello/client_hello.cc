#include "proto/tls_hello/client_hello.h"

#include <algorithm>
#include <utility>

#include "base/address.h"
#include "base/limits.h"

namespace adit {

namespace {

constexpr std::uint16_t kServerName = 0;                 // RFC 6066 §3
constexpr std::uint16_t kAlpn = 16;                      // RFC 7301 §3.1
constexpr std::uint16_t kEncryptedClientHello = 0xfe0d;  // RFC 9849 §5
constexpr std::uint8_t kHostName = 0;                    // RFC 6066 §3, NameType

Error malformed(std::string_view what) { return hello_error(HelloFault::Malformed, what); }

// RFC 6066 §3 forbids them as names, clients send them all the same; such a client is one without a
// name. The character test comes first: a NUL must not end the comparison early.
bool is_address_literal(std::string_view name) {
  if (name.size() >= 2 && name.front() == '[' && name.back() == ']')
    name = name.substr(1, name.size() - 2);
  if (name.find_first_not_of("0123456789abcdef:.") != std::string_view::npos) return false;
  return static_cast<bool>(IpAddress::parse(name));
}

// RFC 1035 §2.3.4 lengths. Letters, digits and hyphens, the latter anywhere, and underscores: names
// of both kinds are in use, and one that no route knows is refused there.
bool is_dns_name(std::string_view name) {
  constexpr std::size_t kNameMax = 253;
  constexpr std::size_t kLabelMax = 63;
  if (name.empty() || name.size() > kNameMax) return false;
  std::size_t label = 0;
  for (char c : name) {
    const bool known = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (c == '.' ? label == 0 : !known || label == kLabelMax) return false;
    label = c == '.' ? 0 : label + 1;
  }
  return label != 0;
}

// Empty for an address literal.
Result<std::string> normal_name(Bytes raw) {
  std::string name(as_text(raw));
  // By hand, not by locale: only ASCII letters have a lower case here.
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (name.ends_with('.')) name.pop_back();
  if (is_address_literal(name)) return std::string();
  if (!is_dns_name(name)) return hello_error(HelloFault::BadName, "server name is not a DNS name");
  return name;
}

// RFC 6066 §3: a list, never empty, with at most one name of each type. Only host_name is defined;
// whatever else comes has the same shape by the RFC's rule, and is passed over.
Status read_server_name(Bytes data, ClientHello& out) {
  Reader in(data);
  Reader list(in.bytes(in.u16()));
  if (!in.done() || list.left() == 0) return malformed("server name list");
  bool named = false;
  while (list.left() > 0) {
    const std::uint8_t type = list.u8();
    const Bytes raw = list.bytes(list.u16());
    if (!list.ok() || raw.empty()) return malformed("server name entry");
    if (type != kHostName) continue;
    if (std::exchange(named, true)) return malformed("two host names");
    auto name = normal_name(raw);
    if (!name) return std::move(name).error();
    out.sni = *std::move(name);
  }
  return {};
}

// RFC 7301 §3.1: neither the list nor a name may be empty.
Status read_alpn(Bytes data, ClientHello& out) {
  Reader in(data);
  Reader list(in.bytes(in.u16()));
  if (!in.done() || list.left() == 0) return malformed("ALPN list");
  while (list.left() > 0) {
    const Bytes name = list.bytes(list.u8());
    if (!list.ok() || name.empty()) return malformed("ALPN name");
    if (out.alpn.size() == limits::kAlpnNamesMax)
      return hello_error(HelloFault::TooLarge, "too many ALPN names");
    out.alpn.emplace_back(as_text(name));
  }
  return {};
}

// RFC 8446 §4.2: any order, no type twice. Repetition is looked for only where it could make us and
// the TLS server behind us see different names; the rest is that server's to judge.
Status read_extensions(Bytes block, ClientHello& out) {
  bool server_name = false;
  bool alpn = false;
  Reader in(block);
  while (in.left() > 0) {
    const std::uint16_t type = in.u16();
    const Bytes data = in.bytes(in.u16());
    if (!in.ok()) return malformed("extension length");
    Status read;
    if (type == kServerName) {
      if (std::exchange(server_name, true)) return malformed("server name extension twice");
      read = read_server_name(data, out);
    } else if (type == kAlpn) {
      if (std::exchange(alpn, true)) return malformed("ALPN extension twice");
      read = read_alpn(data, out);
    } else if (type == kEncryptedClientHello) {
      out.has_ech = true;
    }
    if (!read) return read;
  }
  return {};
}

}  // namespace

Error hello_error(HelloFault fault, std::string_view what) {
  return Error{static_cast<int>(fault), std::string(what)};
}

HelloFault hello_fault(const Error& error) {
  const auto fault = static_cast<HelloFault>(error.code);
  switch (fault) {
    case HelloFault::NotTls:
    case HelloFault::PlainHttp:
    case HelloFault::TooLarge:
    case HelloFault::RecordOverflow:
    case HelloFault::Unexpected:
    case HelloFault::BadVersion:
    case HelloFault::Malformed:
    case HelloFault::BadName: return fault;
  }
  check_failed("error of a hello", __FILE__, __LINE__);
}

std::optional<TlsAlert> alert(HelloFault fault) {
  switch (fault) {
    case HelloFault::NotTls:
    case HelloFault::PlainHttp: return std::nullopt;
    case HelloFault::TooLarge:
    case HelloFault::Malformed: return TlsAlert::DecodeError;
    case HelloFault::RecordOverflow: return TlsAlert::RecordOverflow;
    case HelloFault::Unexpected: return TlsAlert::UnexpectedMessage;
    case HelloFault::BadVersion: return TlsAlert::ProtocolVersion;
    case HelloFault::BadName: return TlsAlert::IllegalParameter;
  }
  return TlsAlert::InternalError;
}

bool ClientHello::offers(std::string_view protocol) const {
  return std::find(alpn.begin(), alpn.end(), protocol) != alpn.end();
}

Result<ClientHello> parse_client_hello(Bytes body) {
  constexpr std::uint16_t kTls10 = 0x0301;
  constexpr std::size_t kRandomBytes = 32;
  constexpr std::size_t kSessionIdMax = 32;
  Reader in(body);
  const std::uint16_t version = in.u16();
  in.skip(kRandomBytes);
  const Bytes session_id = in.bytes(in.u8());
  const Bytes cipher_suites = in.bytes(in.u16());
  const Bytes compression = in.bytes(in.u8());
  if (!in.ok()) return malformed("client hello is cut short");
  // RFC 8446 §4.1.2. A version above TLS 1.2 is answered with a lower one, not refused (RFC 5246
  // §E.1); SSL 3.0 and what is no TLS at all (DTLS: 0xfeff, SSLv2: 0x0002) is.
  if (version < kTls10 || version >> 8 != kTls10 >> 8)
    return hello_error(HelloFault::BadVersion, "client hello version");
  if (session_id.size() > kSessionIdMax) return malformed("session id length");
  if (cipher_suites.empty() || cipher_suites.size() % 2 != 0) return malformed("cipher suites");
  if (compression.empty()) return malformed("compression methods");

  ClientHello out;
  // RFC 5246 §7.4.1.2: a hello may end here.
  if (in.left() == 0) return out;
  const Bytes extensions = in.bytes(in.u16());
  if (!in.done()) return malformed("extensions length");
  if (Status read = read_extensions(extensions, out); !read) return std::move(read).error();
  return out;
}

}  // namespace adit

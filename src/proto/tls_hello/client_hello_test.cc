#include "proto/tls_hello/client_hello.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "proto/tls_hello/test_hello.h"

namespace adit {
namespace {

namespace t = test_hello;

std::string fault_name(const Result<ClientHello>& result) {
  if (result) return "none";
  switch (hello_fault(result.error())) {
    case HelloFault::NotTls: return "not tls";
    case HelloFault::PlainHttp: return "plain http";
    case HelloFault::TooLarge: return "too large";
    case HelloFault::RecordOverflow: return "record overflow";
    case HelloFault::Unexpected: return "unexpected";
    case HelloFault::BadVersion: return "bad version";
    case HelloFault::Malformed: return "malformed";
    case HelloFault::BadName: return "bad name";
  }
  return "?";
}

TEST(ClientHello, WithoutExtensionsHasNoName) {
  // RFC 5246 §7.4.1.2: nothing at all, or an empty block.
  for (const ByteVector& body : {t::body_without_extensions(), t::body({})}) {
    const auto hello = parse_client_hello(body);
    ASSERT_TRUE(hello);
    EXPECT_EQ(*hello, ClientHello{});
  }
}

// RFC 6066 §3.
TEST(ClientHello, ServerName) {
  const std::string label63(63, 'a');
  const std::string longest = label63 + "." + label63 + "." + label63 + "." + std::string(61, 'b');
  ASSERT_EQ(longest.size(), 253u);
  struct Row {
    std::string sent, name, fault;
  };
  const Row table[] = {
      {"example.com", "example.com", "none"},
      {"WWW.Example.COM", "www.example.com", "none"},
      {"example.com.", "example.com", "none"},
      {"localhost", "localhost", "none"},
      {"azAZ09-_", "azaz09-_", "none"},
      {"a", "a", "none"},
      {"a.", "a", "none"},
      {"_sip._tcp.example.com", "_sip._tcp.example.com", "none"},
      {"-a.b-.example.com", "-a.b-.example.com", "none"},
      {"r3---sn-x.example", "r3---sn-x.example", "none"},
      {"xn--bcher-kva.example", "xn--bcher-kva.example", "none"},
      {"123.example", "123.example", "none"},
      {"1.2.3", "1.2.3", "none"},
      {"1.2.3.4.5", "1.2.3.4.5", "none"},
      {"1.2.3.256", "1.2.3.256", "none"},
      {label63, label63, "none"},
      {longest, longest, "none"},
      {longest + ".", longest, "none"},
      // Address literals are no names.
      {"192.0.2.1", "", "none"},
      {"192.0.2.1.", "", "none"},
      {"2001:db8::1", "", "none"},
      {"2001:DB8::A", "", "none"},
      {"[2001:db8::1]", "", "none"},
      {"::ffff:192.0.2.1", "", "none"},
      {"[192.0.2.1]", "", "none"},
      // What is neither.
      {".", "", "bad name"},
      {"..", "", "bad name"},
      {"a..", "", "bad name"},
      {"a..b", "", "bad name"},
      // Beside the letters and digits in ASCII.
      {"x@", "", "bad name"},
      {"x[", "", "bad name"},
      {"x`", "", "bad name"},
      {"x{", "", "bad name"},
      {"x/", "", "bad name"},
      {"x:", "", "bad name"},
      {".example.com", "", "bad name"},
      {"*.example.com", "", "bad name"},
      {"exam ple.com", "", "bad name"},
      {"example.com:443", "", "bad name"},
      {"https://example.com", "", "bad name"},
      {"b\xc3\xbc" "cher.example", "", "bad name"},
      {std::string("example.com\0.evil.example", 25), "", "bad name"},
      {std::string("192.0.2.1\0", 10), "", "bad name"},
      {std::string("\0", 1), "", "bad name"},
      {"example.com\n", "", "bad name"},
      {"fe80::1%eth0", "", "bad name"},
      {"[]", "", "bad name"},
      {"[", "", "bad name"},
      {"]", "", "bad name"},
      {":", "", "bad name"},
      {"2001:db8::1::", "", "bad name"},
      {label63 + "a", "", "bad name"},
      {longest + "b", "", "bad name"},
      {longest.substr(1) + ".bb", "", "bad name"},
      {std::string(5000, 'a'), "", "bad name"},
      {std::string(5000, '.'), "", "bad name"},
      {std::string(5000, '1'), "", "bad name"},
  };
  for (const Row& row : table) {
    const auto hello = parse_client_hello(t::body(t::server_name(row.sent)));
    EXPECT_EQ(fault_name(hello), row.fault) << row.sent;
    if (hello) {
      EXPECT_EQ(hello->sni, row.name);
    }
  }
}

TEST(ClientHello, ServerNameList) {
  struct Row {
    std::string_view label;
    ByteVector data;
    std::string name, fault;
  };
  const ByteVector host = t::name_entry(0, "a.example");
  const ByteVector other = t::name_entry(7, "\xff?");
  const Row table[] = {
      {"no data", {}, "", "malformed"},
      {"half a length", {0}, "", "malformed"},
      {"empty list", t::block16({}), "", "malformed"},
      {"type alone", t::block16(ByteVector{0}), "", "malformed"},
      {"half a name length", t::block16(ByteVector{0, 0}), "", "malformed"},
      {"empty name", t::block16(t::name_entry(0, "")), "", "malformed"},
      {"list too short for the data", t::join({t::block16(host), ByteVector{0}}), "", "malformed"},
      {"list longer than the data", t::join({ByteVector{0, 99}, host}), "", "malformed"},
      {"name longer than the list", t::block16(ByteVector{0, 0, 9, 'a'}), "", "malformed"},
      {"two host names", t::block16(t::join({host, host})), "", "malformed"},
      {"host name, then half an entry", t::block16(t::join({host, ByteVector{0, 0}})), "",
       "malformed"},
      {"another type alone", t::block16(other), "", "none"},
      {"another type first", t::block16(t::join({other, host})), "a.example", "none"},
      {"another type last", t::block16(t::join({host, other, other})), "a.example", "none"},
      {"another type, empty", t::block16(t::name_entry(7, "")), "", "malformed"},
  };
  for (const Row& row : table) {
    const auto hello = parse_client_hello(t::body(t::extension(0, row.data)));
    EXPECT_EQ(fault_name(hello), row.fault) << row.label;
    if (hello) {
      EXPECT_EQ(hello->sni, row.name) << row.label;
    }
  }
}

// RFC 7301 §3.1.
TEST(ClientHello, AlpnList) {
  using Names = std::vector<std::string>;
  const std::string longest(255, 'p');
  struct Row {
    std::string_view label;
    ByteVector data;
    Names names;
    std::string fault;
  };
  const Row table[] = {
      {"no data", {}, {}, "malformed"},
      {"empty list", {0, 0}, {}, "malformed"},
      {"empty name", {0, 1, 0}, {}, "malformed"},
      {"empty name behind another", {0, 4, 2, 'h', '2', 0}, {}, "malformed"},
      {"name over the list", {0, 3, 3, 'h', '2'}, {}, "malformed"},
      {"list over the data", {0, 4, 2, 'h', '2'}, {}, "malformed"},
      {"data over the list", {0, 3, 2, 'h', '2', 0}, {}, "malformed"},
      {"one", {0, 3, 2, 'h', '2'}, {"h2"}, "none"},
      {"GREASE, RFC 8701 §2", {0, 6, 2, 0x8a, 0x8a, 2, 'h', '2'}, {"\x8a\x8a", "h2"}, "none"},
      {"a NUL is a byte", {0, 4, 3, 'h', 0, '2'}, {std::string("h\0" "2", 3)}, "none"},
      {"case is kept", {0, 3, 2, 'H', '2'}, {"H2"}, "none"},
      {"the longest", t::block16(t::block8(as_bytes(longest))), {longest}, "none"},
  };
  for (const Row& row : table) {
    const auto hello = parse_client_hello(t::body(t::extension(16, row.data)));
    EXPECT_EQ(fault_name(hello), row.fault) << row.label;
    if (hello) {
      EXPECT_EQ(hello->alpn, row.names) << row.label;
    }
  }
}

TEST(ClientHello, AlpnNamesAreBounded) {
  ByteVector list;
  for (std::size_t i = 0; i < limits::kAlpnNamesMax; ++i) Writer(list).bytes(ByteVector{1, 'x'});
  auto hello = parse_client_hello(t::body(t::extension(16, t::block16(list))));
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->alpn.size(), limits::kAlpnNamesMax);
  Writer(list).bytes(ByteVector{1, 'x'});
  hello = parse_client_hello(t::body(t::extension(16, t::block16(list))));
  EXPECT_EQ(fault_name(hello), "too large");
}

TEST(ClientHello, OffersComparesWholeNames) {
  const auto hello = parse_client_hello(t::body(t::alpn({"h2", "acme-tls/1"})));
  ASSERT_TRUE(hello);
  EXPECT_TRUE(hello->offers("acme-tls/1"));
  EXPECT_FALSE(hello->offers("acme-tls"));
  EXPECT_FALSE(hello->offers("H2"));
  EXPECT_FALSE(hello->offers(""));
}

// RFC 8446 §4.2.
TEST(ClientHello, ExtensionsInAnyOrderNoneThatMattersTwice) {
  const ByteVector name = t::server_name("a.example");
  const ByteVector alpn = t::alpn({"h2"});
  const ByteVector ech = t::extension(0xfe0d, ByteVector{0, 0, 1});
  const ByteVector grease = t::extension(0x3a3a, ByteVector{0});
  struct Row {
    std::string_view label;
    ByteVector extensions;
    std::string fault;
  };
  const Row table[] = {
      {"one order", t::join({grease, name, alpn, ech, grease}), "none"},
      {"the other", t::join({ech, alpn, grease, name}), "none"},
      {"twice what is not ours to judge", t::join({ech, ech, name, alpn, grease, grease}), "none"},
      {"name twice", t::join({name, alpn, ech, name}), "malformed"},
      {"ALPN twice", t::join({alpn, name, alpn, ech}), "malformed"},
      {"type alone", t::join({name, ByteVector{0x3a, 0x3a}}), "malformed"},
      {"half a type", t::join({name, ByteVector{0x3a}}), "malformed"},
      {"data over the block", t::join({name, ByteVector{0x3a, 0x3a, 0, 1}}), "malformed"},
  };
  for (const Row& row : table) {
    const auto hello = parse_client_hello(t::body(row.extensions));
    EXPECT_EQ(fault_name(hello), row.fault) << row.label;
    if (hello) {
      EXPECT_EQ(*hello, (ClientHello{"a.example", {"h2"}, true})) << row.label;
    }
  }
}

TEST(ClientHello, FieldsBeforeTheExtensions) {
  struct Row {
    std::string_view label;
    std::size_t at;  // of the body: version 0, session id 34, suites 67, compression methods 73
    ByteVector bytes;
    std::string fault;
  };
  const Row table[] = {
      {"TLS 1.0", 0, {3, 1}, "none"},
      {"TLS 1.3 as legacy version", 0, {3, 4}, "none"},
      {"SSL 3.0", 0, {3, 0}, "bad version"},
      {"SSLv2", 0, {0, 2}, "bad version"},
      {"DTLS 1.2", 0, {0xfe, 0xfd}, "bad version"},
      {"session id over 32", 34, {33}, "malformed"},
      {"session id over the end", 34, {255}, "malformed"},
      {"no suites", 67, {0, 0}, "malformed"},
      {"odd suites", 67, {0, 3}, "malformed"},
      {"suites over the end", 67, {1, 0}, "malformed"},
      {"no compression methods", 73, {0}, "malformed"},
      {"methods over the end", 73, {9}, "malformed"},
  };
  for (const Row& row : table) {
    ByteVector body = t::body_without_extensions();
    std::copy(row.bytes.begin(), row.bytes.end(),
              body.begin() + static_cast<std::ptrdiff_t>(row.at));
    EXPECT_EQ(fault_name(parse_client_hello(body)), row.fault) << row.label;
  }
}

// RFC 8446 §4.1.2, RFC 5246 §7.4.1.2: the bounds of each vector, with right lengths around.
TEST(ClientHello, VectorsBeforeTheExtensions) {
  struct Row {
    std::string_view label;
    std::size_t session_id, cipher_suites, compression;  // bytes
    std::string fault;
  };
  const Row table[] = {
      {"least", 0, 2, 1, "none"},
      {"most", 32, 65534, 255, "none"},
      {"session id over 32", 33, 2, 1, "malformed"},
      {"no suites", 0, 0, 1, "malformed"},
      {"half a suite", 0, 1, 1, "malformed"},
      {"odd suites", 0, 5, 1, "malformed"},
      {"no compression methods", 0, 2, 0, "malformed"},
  };
  for (const Row& row : table) {
    const ByteVector body = t::body_of_fields(
        ByteVector(row.session_id), ByteVector(row.cipher_suites), ByteVector(row.compression));
    EXPECT_EQ(fault_name(parse_client_hello(body)), row.fault) << row.label;
  }
}

TEST(ClientHello, EveryTruncationIsMalformed) {
  const ByteVector whole = t::body(t::join({t::server_name("a.example"), t::alpn({"h2"})}));
  const std::size_t without_extensions = t::body_without_extensions().size();
  ASSERT_TRUE(parse_client_hello(whole));
  for (std::size_t n = 0; n < whole.size(); ++n) {
    if (n == without_extensions) continue;  // a whole hello of its own
    EXPECT_EQ(fault_name(parse_client_hello(Bytes(whole).first(n))), "malformed") << n;
  }
  EXPECT_EQ(fault_name(parse_client_hello(t::join({whole, ByteVector{0}}))), "malformed");
}

// Each length field of the hello off by one, and at its greatest.
TEST(ClientHello, EveryWrongLengthIsMalformed) {
  const ByteVector whole = t::body(t::join({t::server_name("a.example"), t::alpn({"h2"})}));
  const std::size_t extensions = t::body_without_extensions().size();
  // The low bytes of: the block; server_name, its list, its name; ALPN, its list, its name.
  const std::size_t lengths[] = {1, 5, 7, 10, 23, 25, 26};
  for (std::size_t at : lengths) {
    for (int change : {-1, 1, 255}) {
      ByteVector body = whole;
      std::uint8_t& length = body[extensions + at];
      length = change == 255 ? std::uint8_t{255} : static_cast<std::uint8_t>(length + change);
      EXPECT_EQ(fault_name(parse_client_hello(body)), "malformed") << at << " " << change;
    }
  }
}

TEST(ClientHello, FaultsHaveTheirAlerts) {
  EXPECT_EQ(alert(HelloFault::NotTls), std::nullopt);
  EXPECT_EQ(alert(HelloFault::PlainHttp), std::nullopt);
  EXPECT_EQ(alert(HelloFault::TooLarge), TlsAlert::DecodeError);
  EXPECT_EQ(alert(HelloFault::RecordOverflow), TlsAlert::RecordOverflow);
  EXPECT_EQ(alert(HelloFault::Unexpected), TlsAlert::UnexpectedMessage);
  EXPECT_EQ(alert(HelloFault::BadVersion), TlsAlert::ProtocolVersion);
  EXPECT_EQ(alert(HelloFault::Malformed), TlsAlert::DecodeError);
  EXPECT_EQ(alert(HelloFault::BadName), TlsAlert::IllegalParameter);
}

TEST(ClientHello, FaultSurvivesContext) {
  auto error = hello_error(HelloFault::BadName, "x").with("visitor");
  EXPECT_EQ(hello_fault(error), HelloFault::BadName);
  EXPECT_EQ(error.what, "visitor: x");
}

}  // namespace
}  // namespace adit

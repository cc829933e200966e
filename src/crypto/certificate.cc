#include "crypto/certificate.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>

#include "crypto/pem.h"

namespace adit::crypto {
namespace {

constexpr std::size_t kCertificateBytesMax = 64 * 1024;
constexpr std::size_t kNamesMax = 1024;

// Tags of X.690 §8.1.2 that certificates use.
constexpr std::uint8_t kBoolean = 0x01, kInteger = 0x02, kOctetString = 0x04, kObjectId = 0x06;
constexpr std::uint8_t kUtcTime = 0x17, kGeneralizedTime = 0x18, kSequence = 0x30;
constexpr std::uint8_t kVersion = 0xa0, kExtensions = 0xa3;
// GeneralName choices (RFC 5280 §4.2.1.6).
constexpr std::uint8_t kDnsName = 0x82, kIpAddress = 0x87;
constexpr std::uint8_t kSubjectAltName[] = {0x55, 0x1d, 0x11};
constexpr std::uint8_t kAuthorityKeyIdentifier[] = {0x55, 0x1d, 0x23};
constexpr std::uint8_t kKeyIdentifier = 0x80;  // RFC 5280 §4.2.1.1: [0] of its sequence

struct Element {
  std::uint8_t tag;
  Bytes body;
  Bytes whole;
};

// Elements of DER one after the other, definite lengths and low tag numbers only. Like Reader:
// after the first failure nothing more is found.
class DerReader {
 public:
  explicit DerReader(Bytes in) : in_(in) {}

  bool ok() const { return ok_; }
  bool done() const { return ok_ && in_.empty(); }
  bool at(std::uint8_t tag) const { return ok_ && !in_.empty() && in_[0] == tag; }

  std::optional<Element> any() {
    Reader r(in_);
    const std::uint8_t tag = r.u8();
    std::size_t length = r.u8();
    if (length >= 0x80) {
      const std::size_t bytes = length & 0x7f;
      if (bytes == 0 || bytes > 3) return fail();
      length = 0;
      for (std::size_t i = 0; i < bytes; ++i) length = (length << 8) | r.u8();
    }
    const Bytes body = r.bytes(length);
    if (!r.ok()) return fail();
    Element out{tag, body, in_.first(r.position())};
    in_ = in_.subspan(r.position());
    return out;
  }
  std::optional<Element> take(std::uint8_t tag) { return at(tag) ? any() : fail(); }
  // The inside of the next element, which fails if that is not a `tag`.
  DerReader into(std::uint8_t tag) {
    const auto element = take(tag);
    DerReader inside(element ? element->body : Bytes{});
    inside.ok_ = element.has_value();
    return inside;
  }
  void skip(std::uint8_t tag) { (void)take(tag); }
  void skip_if(std::uint8_t tag) {
    if (at(tag)) (void)any();
  }

 private:
  std::optional<Element> fail() {
    ok_ = false;
    return std::nullopt;
  }

  Bytes in_;
  bool ok_ = true;
};

// RFC 5280 §4.1.2.5: UTCTime YYMMDDHHMMSSZ, GeneralizedTime YYYYMMDDHHMMSSZ, nothing else.
std::optional<std::int64_t> parse_time(const std::optional<Element>& element) {
  if (!element || (element->tag != kUtcTime && element->tag != kGeneralizedTime)) {
    return std::nullopt;
  }
  const std::string_view text = as_text(element->body);
  const std::size_t year_digits = element->tag == kUtcTime ? 2 : 4;
  if (text.size() != year_digits + 11 || text.back() != 'Z') return std::nullopt;
  const auto digits = text.substr(0, text.size() - 1);
  if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return std::nullopt;
  }
  const auto number = [&](std::size_t at, std::size_t count) {
    int n = 0;
    for (char c : digits.substr(at, count)) n = n * 10 + (c - '0');
    return n;
  };
  int year = number(0, year_digits);
  if (year_digits == 2) year += year < 50 ? 2000 : 1900;
  const auto two = [&](std::size_t i) { return number(year_digits + 2 * i, 2); };
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(two(0))),
                                         std::chrono::day(static_cast<unsigned>(two(1)))};
  if (!date.ok() || two(2) > 23 || two(3) > 59 || two(4) > 60) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * 86400 + two(2) * 3600 + two(3) * 60 + two(4);
}

bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
         c == '*';
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::optional<IpAddress> address_of(Bytes raw) {
  if (raw.size() == 4) return IpAddress::v4(raw[0], raw[1], raw[2], raw[3]);
  IpAddress out;
  if (raw.size() != out.bytes.size()) return std::nullopt;
  std::copy(raw.begin(), raw.end(), out.bytes.begin());
  return out;
}

bool matches(std::string_view pattern, std::string_view host) {
  if (pattern == host) return true;
  // RFC 9525 §6.3: the wildcard is the whole leftmost label and stands for exactly one. "*.com" is
  // refused as well: no authority may issue it.
  if (!pattern.starts_with("*.")) return false;
  const std::string_view suffix = pattern.substr(1);
  if (suffix.find('*') != suffix.npos || suffix.find('.', 1) == suffix.npos) return false;
  const std::size_t dot = host.find('.');
  return dot != host.npos && dot > 0 && host.substr(dot) == suffix;
}

}  // namespace

struct CertificateParser {
  Certificate out;

  bool parse(Bytes der) {
    out.der_.assign(der.begin(), der.end());
    DerReader outer{Bytes(out.der_)};
    DerReader certificate = outer.into(kSequence);
    DerReader tbs = certificate.into(kSequence);
    tbs.skip_if(kVersion);
    const auto serial = tbs.take(kInteger);
    tbs.skip(kSequence);  // signature
    tbs.skip(kSequence);  // issuer
    DerReader validity = tbs.into(kSequence);
    const auto not_before = parse_time(validity.any()), not_after = parse_time(validity.any());
    tbs.skip(kSequence);  // subject
    const auto spki = tbs.take(kSequence);
    if (!outer.done() || !tbs.ok() || !not_before || !not_after) return false;
    out.serial_.assign(serial->body.begin(), serial->body.end());
    out.not_before_ = *not_before;
    out.not_after_ = *not_after;
    out.spki_at_ = static_cast<std::size_t>(spki->whole.data() - out.der_.data());
    out.spki_size_ = spki->whole.size();
    // Between: issuerUniqueID and subjectUniqueID, [1] and [2], which nobody uses.
    tbs.skip_if(0x81);
    tbs.skip_if(0x82);
    return !tbs.at(kExtensions) || extensions(tbs.into(kExtensions));
  }

  bool extensions(DerReader wrapper) {
    DerReader list = wrapper.into(kSequence);
    while (list.ok() && !list.done()) {
      DerReader extension = list.into(kSequence);
      const auto id = extension.take(kObjectId);
      extension.skip_if(kBoolean);
      const auto value = extension.take(kOctetString);
      if (!extension.ok()) return false;
      if (std::ranges::equal(id->body, kSubjectAltName) && !names(DerReader(value->body))) {
        return false;
      }
      if (std::ranges::equal(id->body, kAuthorityKeyIdentifier)) {
        DerReader authority = DerReader(value->body).into(kSequence);
        if (const auto key = authority.any(); key && key->tag == kKeyIdentifier)
          out.authority_key_id_.assign(key->body.begin(), key->body.end());
      }
    }
    return list.ok();
  }

  bool names(DerReader value) {
    DerReader list = value.into(kSequence);
    while (list.ok() && !list.done()) {
      const auto name = list.any();
      if (!name || out.names_.size() + out.addresses_.size() == kNamesMax) return false;
      if (name->tag == kDnsName) {
        const std::string text = lower(as_text(name->body));
        if (!text.empty() && std::ranges::all_of(text, is_host_character)) {
          out.names_.push_back(text);
        }
      } else if (name->tag == kIpAddress) {
        if (const auto address = address_of(name->body)) out.addresses_.push_back(*address);
      }
    }
    return list.ok();
  }
};

Result<Certificate> Certificate::from_der(Bytes der) {
  CertificateParser parser;
  if (der.size() > kCertificateBytesMax) return Error{EFBIG, "a certificate over 64 KiB"};
  if (!parser.parse(der)) return Error{EINVAL, "not an X.509 certificate"};
  return std::move(parser.out);
}

Result<Certificate> Certificate::from_pem(std::string_view pem) {
  auto chain = parse_chain_pem(pem);
  if (!chain) return std::move(chain).error();
  return std::move(chain->front());
}

std::string Certificate::to_pem() const { return crypto::to_pem("CERTIFICATE", der_); }

bool Certificate::is_for(std::string_view host) const {
  if (const auto address = IpAddress::parse(host)) {
    return std::ranges::find(addresses_, *address) != addresses_.end();
  }
  std::string wanted = lower(host);
  if (wanted.ends_with('.')) wanted.pop_back();
  if (wanted.empty()) return false;
  return std::ranges::any_of(names_, [&](const auto& name) { return matches(name, wanted); });
}

Result<std::vector<Certificate>> parse_chain_pem(std::string_view pem) {
  auto blocks = parse_pem(pem);
  if (!blocks) return std::move(blocks).error();
  std::vector<Certificate> chain;
  for (const PemBlock& block : *blocks) {
    if (block.label != "CERTIFICATE") continue;
    auto certificate =
        Certificate::from_der(block.der).with("certificate " + std::to_string(chain.size() + 1));
    if (!certificate) return std::move(certificate).error();
    chain.push_back(std::move(*certificate));
  }
  if (chain.empty()) return Error{EINVAL, "no PEM block with a certificate"};
  return chain;
}

}  // namespace adit::crypto

#include "crypto/pem.h"

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "crypto/digest.h"

namespace adit::crypto {
namespace {

constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::string_view kDashes = "-----";
constexpr std::size_t kLineCharacters = 64;  // RFC 7468 §2

bool is_blank(char c) { return c == '\n' || c == '\r' || c == ' ' || c == '\t'; }

Result<PemBlock> decode(std::string_view label, std::string_view body) {
  const std::string name = "PEM block " + std::string(label);
  // RFC 1421 headers (as in old encrypted keys) have a colon, base64 has not.
  if (body.find(':') != body.npos) {
    return Error{EINVAL, name + ": has headers; if the key is encrypted, decrypt it first"};
  }
  std::string text;
  text.reserve(body.size());
  std::copy_if(body.begin(), body.end(), std::back_inserter(text),
               [](char c) { return !is_blank(c); });
  auto der = base64_decode(text).with(name);
  if (!der) return std::move(der).error();
  return PemBlock{std::string(label), std::move(*der)};
}

}  // namespace

Result<std::vector<PemBlock>> parse_pem(std::string_view text) {
  std::vector<PemBlock> blocks;
  for (;;) {
    const std::size_t begin = text.find(kBegin);
    if (begin == text.npos) return blocks;
    text.remove_prefix(begin + kBegin.size());
    const std::size_t line_end = text.find('\n');
    const std::size_t dashes = text.substr(0, line_end).find(kDashes);
    if (dashes == text.npos) return Error{EINVAL, "a BEGIN line without its dashes"};
    const std::string_view label = text.substr(0, dashes);
    text.remove_prefix(dashes + kDashes.size());

    const std::string end = std::string(kEnd) + std::string(label) + std::string(kDashes);
    const std::size_t at = text.find(end);
    if (at == text.npos) return Error{EINVAL, "no END line for " + std::string(label)};
    if (blocks.size() == kPemBlocksMax) return Error{E2BIG, "too many PEM blocks"};
    auto block = decode(label, text.substr(0, at));
    if (!block) return std::move(block).error();
    blocks.push_back(std::move(*block));
    text.remove_prefix(at + end.size());
  }
}

std::string to_pem(std::string_view label, Bytes der) {
  const std::string body = base64_encode(der);
  std::string out = std::string(kBegin) + std::string(label) + std::string(kDashes) + "\n";
  for (std::size_t at = 0; at < body.size(); at += kLineCharacters) {
    out += body.substr(at, kLineCharacters) + "\n";
  }
  return out + std::string(kEnd) + std::string(label) + std::string(kDashes) + "\n";
}

}  // namespace adit::crypto

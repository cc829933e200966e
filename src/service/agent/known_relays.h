// What an agent remembers of relays' keys, as ssh's known_hosts: a line a relay, `HOST:PORT webpki`
// or `HOST:PORT sha256/…`. A relay that once showed a publicly trusted certificate is never taken
// with less.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace adit::service {

inline constexpr std::string_view kWebPki = "webpki";

// Pure: the text and what it says.
class KnownRelays {
 public:
  // Lines that do not parse are kept as they are and mean nothing.
  static KnownRelays parse(std::string_view text);
  std::string text() const;

  // "webpki", a pin, or nothing.
  std::optional<std::string> find(std::string_view relay) const;
  void remember(std::string_view relay, std::string_view what);

 private:
  std::map<std::string, std::string, std::less<>> entries_;
  std::string other_lines_;
};

// The file. Reading one that is not there gives an empty one; writing is atomic (a full disk leaves
// the old file) and its error names the path.
class KnownRelaysFile {
 public:
  explicit KnownRelaysFile(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }
  Result<KnownRelays> read() const;
  Status remember(std::string_view relay, std::string_view what) const;

 private:
  std::string path_;
};

}  // namespace adit::service

#include "app/node_settings.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "crypto/key_file.h"

namespace adit::app {

namespace {

constexpr std::size_t kSecretBytesMax = 4096;
constexpr std::size_t kSecretBytesGood = 16;
constexpr std::string_view kKnownToAll = "changeme";

void drop_line_end(std::string& text) {
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
}

Result<std::string> read_descriptor(int fd) {
  std::string out(kSecretBytesMax + 1, '\0');
  std::size_t size = 0;
  while (size < out.size()) {
    const ssize_t n = ::read(fd, out.data() + size, out.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "key_fd");
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  ::close(fd);
  if (size > kSecretBytesMax) return Error{0, "key_fd: over 4096 bytes"};
  out.resize(size);
  drop_line_end(out);
  return out;
}

Result<std::string> read_file(const std::string& path) {
  auto text = crypto::read_file(path, kSecretBytesMax);
  if (!text) return std::move(text).error();
  std::string out = std::move(*text);
  drop_line_end(out);
  return out;
}

Status check_secret(const std::string& secret, const std::string& where,
                    std::vector<std::string>& warnings) {
  if (secret.empty()) return Error{0, where + " is empty: clients need a key"};
  if (secret == kKnownToAll)
    return Error{0, where + " is \"changeme\", which everybody knows: take another"};
  if (secret.size() < kSecretBytesGood)
    warnings.push_back(where + " has less than 16 characters: it may be guessed");
  return {};
}

Result<std::string> main_secret(const NodeServiceConfig& config, const Environment& environment,
                                std::string& where) {
  if (config.key_fd >= 0) {
    where = "the key of descriptor " + std::to_string(config.key_fd);
    return read_descriptor(config.key_fd);
  }
  if (!config.key_file.empty()) {
    where = "the key in " + config.key_file;
    return read_file(config.key_file);
  }
  where = "TUNNEL_AUTH_KEY";
  const std::string* given = environment.find("TUNNEL_AUTH_KEY");
  if (given != nullptr) return *given;
  if (environment.variables.contains("TUNNEL_AUTH_KEY")) return std::string();
  const bool slip = environment.find("MHRV_AUTH_KEY") != nullptr;
  return Error{0, std::string("there is no key; give TUNNEL_AUTH_KEY, --key-file or --key-fd") +
                      (slip ? " (MHRV_AUTH_KEY is not it)" : "")};
}

service::NodeKeySettings key_settings(const NodeKeyConfig& key, std::string secret) {
  service::NodeKeySettings out;
  out.name = key.name;
  out.secret = std::move(secret);
  out.sessions = key.sessions;
  out.requests_per_second = key.requests;
  out.bytes_per_second = key.bytes;
  out.egress = {key.deny, key.allow, key.only_allowed};
  return out;
}

}  // namespace

Result<service::NodeSettings> make_node_settings(const NodeServiceConfig& config,
                                                 const Environment& environment,
                                                 std::vector<std::uint16_t> ports,
                                                 std::vector<std::string>& warnings) {
  service::NodeSettings out;
  std::string where;
  auto secret = main_secret(config, environment, where);
  // With other keys the first is not needed.
  if (!secret && (config.more_keys.empty() || secret.error().code != 0))
    return std::move(secret).error();
  if (secret) {
    if (auto ok = check_secret(*secret, where, warnings); !ok) return std::move(ok).error();
    NodeKeyConfig first{.file = {}, .name = "default", .allow = config.allow, .deny = config.deny,
                        .only_allowed = config.only_allowed};
    out.keys.push_back(key_settings(first, std::move(*secret)));
  }
  for (const NodeKeyConfig& key : config.more_keys) {
    auto more = read_file(key.file);
    if (!more) return std::move(more).error();
    if (auto ok = check_secret(*more, "the key in " + key.file, warnings); !ok)
      return std::move(ok).error();
    if (std::ranges::find(out.keys, *more, &service::NodeKeySettings::secret) != out.keys.end())
      return Error{0, "the key in " + key.file + " is there twice"};
    out.keys.push_back(key_settings(key, std::move(*more)));
  }
  out.own = {config.own_addresses, std::move(ports)};
  out.diagnostic = config.diagnostic;
  out.compression = config.compression;
  out.connect_data = config.connect_data;
  out.old_gateway = config.old_gateway;
  out.long_poll = config.long_poll;
  out.sessions = config.sessions;
  out.buffer_bytes = config.buffer_bytes;
  out.body_bytes = config.body_bytes;
  return out;
}

}  // namespace adit::app

#include "proto/acme/accounts.h"

#include <jansson.h>

#include <cerrno>
#include <memory>

#include "base/check.h"
#include "crypto/digest.h"

namespace adit::acme {
namespace {

struct JsonFree {
  void operator()(json_t* j) const { json_decref(j); }
};
using Json = std::unique_ptr<json_t, JsonFree>;

std::string text_at(const json_t* object, const char* key) {
  const json_t* j = json_object_get(object, key);
  return json_is_string(j) ? std::string(json_string_value(j), json_string_length(j))
                           : std::string();
}

json_t* text_of(std::string_view text) { return json_stringn(text.data(), text.size()); }

Result<StoredAccount> account_of(const json_t* j) {
  StoredAccount out;
  out.state.url = text_at(j, "id");
  out.state.contact = text_at(j, "contact");
  auto key = crypto::base64url_decode(text_at(j, "key_pkcs8"));
  if (!key || key->empty()) return Error{EINVAL, "an account without a key (key_pkcs8)"};
  out.key_pkcs8 = std::move(*key);
  return out;
}

}  // namespace

Result<StoredAccounts> parse_accounts(std::string_view json) {
  const Json j(json_loadb(json.data(), json.size(), JSON_REJECT_DUPLICATES, nullptr));
  if (!json_is_object(j.get())) return Error{EINVAL, "this is no file of ACME accounts"};
  StoredAccounts out;
  const std::string directory = text_at(j.get(), "directory");
  if (!directory.empty()) {
    auto account = account_of(j.get());
    if (!account) return std::move(account).error();
    out.emplace(directory, std::move(*account));
  }
  const char* url = nullptr;
  json_t* entry = nullptr;
  json_object_foreach(json_object_get(j.get(), "accounts"), url, entry) {
    auto account = account_of(entry);
    if (!account) return std::move(account).error().with(url);
    out.insert_or_assign(url, std::move(*account));
  }
  return out;
}

std::string print_accounts(const StoredAccounts& accounts) {
  const Json j(json_object());
  json_t* list = json_object();
  json_object_set_new(j.get(), "accounts", list);
  for (const auto& [directory, account] : accounts) {
    json_t* entry = json_object();
    json_object_set_new(entry, "id", text_of(account.state.url));
    json_object_set_new(entry, "contact", text_of(account.state.contact));
    json_object_set_new(entry, "key_pkcs8", text_of(crypto::base64url_encode(account.key_pkcs8)));
    json_object_set_new(list, directory.c_str(), entry);
  }
  const std::unique_ptr<char, decltype(&free)> text(json_dumps(j.get(), JSON_INDENT(2)), &free);
  CHECK(text != nullptr);
  return std::string(text.get()) + "\n";
}

}  // namespace adit::acme

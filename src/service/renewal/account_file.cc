#include "service/renewal/account_file.h"

#include <cerrno>

#include "crypto/key_file.h"
#include "crypto/pem.h"

namespace adit::service {

namespace {
constexpr std::size_t kFileBytesMax = std::size_t{1} << 20;
}  // namespace

Result<acme::StoredAccounts> AccountFile::read() const {
  auto text = crypto::read_file(path_, kFileBytesMax);
  if (!text && text.error().code == ENOENT) return acme::StoredAccounts();
  if (!text) return std::move(text).error();
  return acme::parse_accounts(*text).with(path_);
}

Result<LoadedAccount> AccountFile::load_or_make(const std::string& directory) const {
  auto accounts = read();
  if (!accounts) return std::move(accounts).error();
  if (const auto known = accounts->find(directory); known != accounts->end()) {
    auto key = crypto::PrivateKey::from_pem(crypto::to_pem("PRIVATE KEY", known->second.key_pkcs8));
    if (!key) return std::move(key).error().with(path_);
    return LoadedAccount{known->second.state, std::move(*key)};
  }
  LoadedAccount fresh{{}, crypto::PrivateKey::generate()};
  if (Status saved = save(directory, fresh); !saved) return std::move(saved).error();
  return fresh;
}

Status AccountFile::save(const std::string& directory, const LoadedAccount& account) const {
  auto accounts = read();
  if (!accounts) return std::move(accounts).error();
  const Bytes key = account.key.pkcs8_der();
  accounts->insert_or_assign(
      directory, acme::StoredAccount{account.state, ByteVector(key.begin(), key.end())});
  return crypto::replace_file(path_, acme::print_accounts(*accounts));
}

}  // namespace adit::service

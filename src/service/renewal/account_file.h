// ACME accounts on disk (proto/acme/accounts.h). Blocking, at the beginning and end of an order.
#pragma once

#include <string>

#include "base/result.h"
#include "crypto/key.h"
#include "proto/acme/accounts.h"

namespace adit::service {

struct LoadedAccount {
  acme::AccountState state;
  crypto::PrivateKey key;
};

class AccountFile {
 public:
  explicit AccountFile(std::string path) : path_(std::move(path)) {}

  // The account of that server; a new key, written at once, where there is none. A file that cannot
  // be read or understood is an error and stays as it is.
  Result<LoadedAccount> load_or_make(const std::string& directory) const;
  // Keeps the entries of other servers.
  Status save(const std::string& directory, const LoadedAccount& account) const;

 private:
  Result<acme::StoredAccounts> read() const;

  std::string path_;
};

}  // namespace adit::service

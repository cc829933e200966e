// ACME accounts as text: JSON, one entry a server, keyed by the URL of its directory, so that
// another server never gets the account of the first.
//
//   {"accounts": {"https://...": {"id": URL, "contact": ADDRESS, "key_pkcs8": BASE64URL}}}
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "proto/acme/client.h"

namespace adit::acme {

struct StoredAccount {
  AccountState state;
  ByteVector key_pkcs8;
};
using StoredAccounts = std::map<std::string, StoredAccount, std::less<>>;

// Reads also the form of clients with one account: {"id", "key_pkcs8", "directory"}.
Result<StoredAccounts> parse_accounts(std::string_view json);
std::string print_accounts(const StoredAccounts& accounts);

}  // namespace adit::acme

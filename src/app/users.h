// Users of this machine, and becoming one. Reads /etc/passwd and /etc/group by itself: the C
// library's own look-up loads modules, which a static program does not have.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace adit::app {

struct User {
  std::string name;
  uid_t id = 0;
  gid_t group = 0;
  std::vector<gid_t> groups{};  // the others that it is in
};

// By name, or by number. ENOENT: there is none.
Result<User> find_user(std::string_view name);
// The same, with the files' texts in hand.
Result<User> find_user(std::string_view name, std::string_view passwd, std::string_view group);
// Its number where it has no name.
std::string user_name(uid_t id);

// The folder and what root has in it become the user's. Files with a second name stay: it may stand
// in another folder. No folder yet: nothing to do.
Status give_folder(const std::string& path, const User& user);

// The whole process, all threads. For good.
Status become(const User& user);

}  // namespace adit::app

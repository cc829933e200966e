// What of the file system a thread may still reach (landlock(7)). Paths that are not there when the
// rules are made cannot be named: give the folder in which they will be.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace adit::io {

enum class FileAccess : std::uint8_t {
  Read,     // files
  List,     // files and folders' lists
  Write,    // also makes, replaces and removes files, folders and sockets
  Execute,  // also runs programs
  Remove,   // files, from a folder
};

struct FileRule {
  std::string path;  // a file, or a folder with all below it; symbolic links are followed
  FileAccess access = FileAccess::Read;
};

// The kernel's version of the interface; 0: none, or switched off.
int landlock_version();

// For the calling thread and those it starts from then on; all that no rule names is out of reach.
// Descriptors that are open stay so. Rules for paths that are not there are left out. Needs
// no_new_privs.
Status restrict_files(const std::vector<FileRule>& rules);

}  // namespace adit::io

// What the kernel says about this process.

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <memory>

#include "app/admin_pages.h"

namespace adit::app {
namespace {

struct CloseFile {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
struct CloseFolder {
  void operator()(DIR* d) const { ::closedir(d); }
};

std::uint64_t resident_bytes() {
  const std::unique_ptr<std::FILE, CloseFile> f(std::fopen("/proc/self/statm", "re"));
  unsigned long size = 0, resident = 0;  // pages (proc_pid_statm(5))
  if (!f || std::fscanf(f.get(), "%lu %lu", &size, &resident) != 2) return 0;
  return std::uint64_t{resident} * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t open_fds() {
  // Linux 6.2 says the number at once; to count 100,000 entries would hold the thread up.
  struct stat s {};
  if (::stat("/proc/self/fd", &s) == 0 && s.st_size > 0) {
    return static_cast<std::uint64_t>(s.st_size);
  }
  const std::unique_ptr<DIR, CloseFolder> folder(::opendir("/proc/self/fd"));
  if (!folder) return 0;
  std::uint64_t n = 0;
  while (const dirent* entry = ::readdir(folder.get())) n += entry->d_name[0] != '.';
  return n - 1;  // the folder's own
}

}  // namespace

ProcessFacts read_process_facts() {
  ProcessFacts out;
  timespec cpu{};
  if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0) {
    out.cpu_seconds = static_cast<double>(cpu.tv_sec) + static_cast<double>(cpu.tv_nsec) / 1e9;
  }
  out.resident_bytes = resident_bytes();
  out.open_fds = open_fds();
  rlimit fds{};
  if (::getrlimit(RLIMIT_NOFILE, &fds) == 0) out.max_fds = fds.rlim_cur;
  return out;
}

}  // namespace adit::app

// For the tests of this room: a folder that goes away, and other people's programs run in it.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace adit::crypto {

class TestFolder {
 public:
  TestFolder() {
    std::string name = std::filesystem::temp_directory_path() / "adit_crypto_";
    name.append(6, 'X');  // what mkdtemp replaces
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~TestFolder() {
    std::error_code ignored;  // a folder that stays behind fails no test
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  std::string read(const std::string& name) const {
    std::ifstream in(path_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  struct Ran {
    int code;
    std::string output;  // both streams
  };
  // By the shell, in this folder.
  Ran run(const std::string& command) const {
    FILE* pipe = ::popen(("cd '" + path_.string() + "' && { " + command + "; } 2>&1").c_str(), "r");
    if (pipe == nullptr) return {-1, "popen failed"};
    Ran out{0, {}};
    std::array<char, 4096> buffer;
    for (std::size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
      out.output.append(buffer.data(), n);
    }
    const int status = ::pclose(pipe);
    out.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return out;
  }

 private:
  std::filesystem::path path_;
};

inline bool has_openssl() {
  static const bool found = TestFolder().run("openssl version").code == 0;
  return found;
}

}  // namespace adit::crypto

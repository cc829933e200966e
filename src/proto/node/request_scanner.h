// Reads a request body of the HTTP tunnel node as it arrives, before it is JSON to anybody: counts
// what could make parsing expensive, finds the key, and sets the long strings (base64, nearly all
// of a body) aside, so that the JSON parser sees a few hundred bytes an op whatever the op carries.
//
// It checks no syntax; what is left, the skeleton, is the parser's to judge (request.h). A string
// set aside stands there as "\u0000N", its number behind a NUL.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/limits_node.h"

namespace adit::node {

struct ScanLimits {
  std::size_t body_bytes = limits::kNodeBodyBytesMax;
  std::size_t skeleton_bytes = limits::kNodeSkeletonBytesMax;
  std::size_t values = limits::kNodeValuesMax;
  std::size_t depth = limits::kNodeDepthMax;
};

class RequestScanner {
 public:
  enum class Verdict : std::uint8_t {
    More,
    TooLong,     // the body
    TooComplex,  // deeper, or of more values, or with more text outside long strings than allowed
  };

  explicit RequestScanner(const ScanLimits& limits = {}) : limits_(limits) {}

  // Not to be called again after another verdict than More.
  Verdict feed(Bytes in);

  // The member "k" of the outermost object as soon as its string is complete, unescaped; null
  // before.
  const std::string* key() const { return has_key_ ? &key_ : nullptr; }
  std::size_t fed() const { return fed_; }

  // When all is fed.
  const std::string& skeleton() const { return skeleton_; }
  std::vector<std::string>& set_aside() { return set_aside_; }

  // The number of the string that a skeleton's string stands for; -1: it is just a string.
  static std::int64_t reference(std::string_view text);

 private:
  enum class Expect : std::uint8_t { Other, Name, Value };
  bool outside(char c);
  void end_string();
  bool too_complex() const {
    return depth_ > limits_.depth || values_ > limits_.values ||
           skeleton_.size() > limits_.skeleton_bytes;
  }

  const ScanLimits limits_;
  std::size_t fed_ = 0, depth_ = 0, values_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;  // the next character belongs to a backslash
  bool other_escapes_ = false;  // than "\/"
  bool slashes_ = false;
  bool in_object_ = false;      // the outermost value is one
  Expect expect_ = Expect::Other;  // in the outermost object
  bool at_key_ = false;         // the next string there is the key
  bool has_key_ = false;
  std::string string_;  // raw, without quotes
  std::string key_, skeleton_;
  std::vector<std::string> set_aside_;
};

}  // namespace adit::node

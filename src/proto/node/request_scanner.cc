#include "proto/node/request_scanner.h"

#include <jansson.h>

#include <charconv>
#include <memory>
#include <utility>

namespace adit::node {

namespace {

struct JsonFree {
  void operator()(json_t* j) const { json_decref(j); }
};

// `raw` stood between quotes. Empty where it is no string.
std::string unescape(const std::string& raw) {
  const std::string quoted = '"' + raw + '"';
  const std::unique_ptr<json_t, JsonFree> j(
      json_loadb(quoted.data(), quoted.size(), JSON_DECODE_ANY | JSON_ALLOW_NUL, nullptr));
  if (!json_is_string(j.get())) return {};
  return std::string(json_string_value(j.get()), json_string_length(j.get()));
}

void drop_backslashes(std::string& text) { std::erase(text, '\\'); }

}  // namespace

RequestScanner::Verdict RequestScanner::feed(Bytes in) {
  fed_ += in.size();
  if (fed_ > limits_.body_bytes) return Verdict::TooLong;
  std::string_view text = as_text(in);
  while (!text.empty()) {
    if (!in_string_) {
      if (!outside(text.front())) return Verdict::TooComplex;
      text.remove_prefix(1);
      continue;
    }
    if (escaped_) {
      (text.front() == '/' ? slashes_ : other_escapes_) = true;
      string_ += text.front();
      escaped_ = false;
      text.remove_prefix(1);
      continue;
    }
    const std::size_t quote = text.find('"');
    const std::string_view run = text.substr(0, quote);
    const std::size_t backslash = run.find('\\');
    if (backslash != run.npos) {
      string_.append(run.substr(0, backslash + 1));
      escaped_ = true;
      text.remove_prefix(backslash + 1);
      continue;
    }
    string_.append(run);
    text.remove_prefix(run.size());
    if (quote == text.npos || text.empty()) continue;
    text.remove_prefix(1);
    end_string();
    if (too_complex()) return Verdict::TooComplex;
  }
  return Verdict::More;
}

bool RequestScanner::outside(char c) {
  switch (c) {
    case '"':
      in_string_ = true;
      return true;  // the skeleton gets the whole string
    case '{':
    case '[':
      if (depth_ == 0) in_object_ = c == '{';
      ++depth_;
      ++values_;
      if (depth_ == 1 && in_object_) expect_ = Expect::Name;
      break;
    case '}':
    case ']':
      if (depth_ > 0) --depth_;
      break;
    case ',':
      ++values_;
      if (depth_ == 1 && in_object_) expect_ = Expect::Name;
      break;
    case ':':
      if (depth_ == 1 && in_object_) expect_ = Expect::Value;
      break;
    case ' ':
    case '\t':
    case '\r':
    case '\n':
      if (!skeleton_.empty() && skeleton_.back() != ' ') skeleton_ += ' ';
      return true;
    default: break;
  }
  skeleton_ += c;
  return !too_complex();
}

void RequestScanner::end_string() {
  in_string_ = false;
  if (depth_ == 1 && in_object_) {
    if (expect_ == Expect::Name) {
      at_key_ = string_ == "k";
    } else if (expect_ == Expect::Value && at_key_ && !has_key_) {
      key_ = other_escapes_ || slashes_ ? unescape(string_) : string_;
      has_key_ = true;
    }
    expect_ = Expect::Other;
  }
  if (string_.size() > limits::kNodeInlineStringBytesMax && !other_escapes_) {
    if (slashes_) drop_backslashes(string_);
    skeleton_ += "\"\\u0000" + std::to_string(set_aside_.size()) + '"';
    set_aside_.push_back(std::exchange(string_, {}));
  } else {
    skeleton_ += '"';
    skeleton_ += string_;
    skeleton_ += '"';
    string_.clear();
  }
  slashes_ = other_escapes_ = false;
}

std::int64_t RequestScanner::reference(std::string_view text) {
  if (text.size() < 2 || text.front() != '\0') return -1;
  std::int64_t n = -1;
  const auto read = std::from_chars(text.data() + 1, text.data() + text.size(), n);
  return read.ec == std::errc{} && read.ptr == text.data() + text.size() ? n : -1;
}

}  // namespace adit::node

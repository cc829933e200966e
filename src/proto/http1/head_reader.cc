#include "proto/http1/head_reader.h"

#include <llhttp.h>

#include <algorithm>

namespace adit::http1 {

namespace {

constexpr std::size_t kFieldsMax = 128;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view s) {
  const std::size_t from = s.find_first_not_of(" \t");
  if (from == std::string_view::npos) return {};
  return s.substr(from, s.find_last_not_of(" \t") - from + 1);
}

}  // namespace

std::string_view Head::field(std::string_view name) const {
  const auto at =
      std::ranges::find_if(fields, [name](const Field& f) { return f.name == name; });
  return at == fields.end() ? std::string_view() : std::string_view(at->value);
}

bool Head::lists(std::string_view name, std::string_view token) const {
  for (const Field& f : fields) {
    if (f.name != name) continue;
    std::string_view left = f.value;
    while (!left.empty()) {
      const std::size_t comma = std::min(left.find(','), left.size());
      if (same(trimmed(left.substr(0, comma)), token)) return true;
      left.remove_prefix(std::min(comma + 1, left.size()));
    }
  }
  return false;
}

struct HeadReader::Parser {
  explicit Parser(HeadReader& r, llhttp_type type) : reader(r) {
    llhttp_settings_init(&settings);
    settings.on_method = [](llhttp_t* p, const char* at, std::size_t n) {
      return add(p, of(p).method, at, n);
    };
    settings.on_url = [](llhttp_t* p, const char* at, std::size_t n) {
      return add(p, of(p).target, at, n);
    };
    settings.on_header_field = [](llhttp_t* p, const char* at, std::size_t n) {
      Head& head = of(p);
      if (!self(p).in_name) {
        if (head.fields.size() == kFieldsMax) return fail(p, "too many fields");
        head.fields.emplace_back();
        self(p).in_name = true;
      }
      return add(p, head.fields.back().name, at, n);
    };
    settings.on_header_value = [](llhttp_t* p, const char* at, std::size_t n) {
      self(p).in_name = false;
      return add(p, of(p).fields.back().value, at, n);
    };
    // An empty value has no span.
    settings.on_header_value_complete = [](llhttp_t* p) {
      self(p).in_name = false;
      return 0;
    };
    settings.on_headers_complete = [](llhttp_t* p) {
      Head& head = of(p);
      head.status = llhttp_get_status_code(p);
      head.minor_version = llhttp_get_http_minor(p);
      if (llhttp_get_http_major(p) != 1) return fail(p, "not HTTP/1");
      for (Field& f : head.fields) {
        std::ranges::transform(f.name, f.name.begin(), lower);
        f.value = trimmed(f.value);
      }
      self(p).done = true;
      return static_cast<int>(HPE_PAUSED);
    };
    llhttp_init(&parser, type, &settings);
    parser.data = this;
  }

  static Parser& self(llhttp_t* p) { return *static_cast<Parser*>(p->data); }
  static Head& of(llhttp_t* p) { return self(p).reader.head_; }
  static int add(llhttp_t*, std::string& to, const char* at, std::size_t n) {
    to.append(at, n);
    return 0;
  }
  static int fail(llhttp_t* p, const char* why) {
    self(p).fault = why;
    return -1;
  }

  HeadReader& reader;
  llhttp_settings_t settings;
  llhttp_t parser;
  const char* fault = nullptr;  // of our own
  bool in_name = false, done = false;
};

HeadReader::HeadReader(Kind kind, std::size_t bytes_max)
    : parser_(std::make_unique<Parser>(*this,
                                       kind == Kind::Request ? HTTP_REQUEST : HTTP_RESPONSE)),
      bytes_max_(bytes_max) {}

HeadReader::~HeadReader() = default;

HeadReader::Verdict HeadReader::feed(Bytes in) {
  // The bound is the head's: what follows it in the same bytes does not count.
  const Bytes part = in.first(std::min(in.size(), bytes_max_ - std::min(fed_, bytes_max_)));
  const std::string_view text = as_text(part);
  llhttp_t& p = parser_->parser;
  const llhttp_errno_t e = llhttp_execute(&p, text.data(), text.size());
  fed_ += part.size();
  if (parser_->done) {
    // Paused behind the last line feed; llhttp names the byte it stopped at.
    const char* at = llhttp_get_error_pos(&p);
    const auto used = at == nullptr ? part.size() : static_cast<std::size_t>(at - text.data());
    rest_ = in.subspan(std::min(used, in.size()));
    return Verdict::Done;
  }
  if (e != HPE_OK) {
    const char* why = parser_->fault != nullptr ? parser_->fault : llhttp_get_error_reason(&p);
    fault_ = why == nullptr || *why == '\0' ? llhttp_errno_name(e) : why;
    return Verdict::Malformed;
  }
  return part.size() < in.size() || fed_ >= bytes_max_ ? Verdict::TooLong : Verdict::More;
}

}  // namespace adit::http1

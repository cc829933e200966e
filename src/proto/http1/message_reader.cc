#include "proto/http1/message_reader.h"

#include <llhttp.h>

#include <algorithm>
#include <cerrno>

namespace adit::http1 {

namespace {
constexpr std::size_t kFieldsMax = 128;
}  // namespace

bool Head::keep_alive() const {
  return minor_version == 0 ? lists("connection", "keep-alive") : !lists("connection", "close");
}

struct MessageReader::Parser {
  enum class Stop : std::uint8_t { None, Head, Body, End };

  explicit Parser(MessageReader& r) : reader(r) {
    llhttp_settings_init(&settings);
    settings.on_method = [](llhttp_t* p, const char* at, std::size_t n) {
      return add(of(p).head_.method, at, n);
    };
    settings.on_url = [](llhttp_t* p, const char* at, std::size_t n) {
      return add(of(p).head_.target, at, n);
    };
    settings.on_header_field = on_field;
    settings.on_header_value = on_value;
    // An empty value has no span.
    settings.on_header_value_complete = [](llhttp_t* p) {
      self(p).in_name = false;
      return 0;
    };
    settings.on_headers_complete = on_head;
    settings.on_body = [](llhttp_t* p, const char* at, std::size_t n) {
      if (n == 0) return 0;
      of(p).body_ = as_bytes({at, n});
      return stop(p, Stop::Body);
    };
    settings.on_message_complete = [](llhttp_t* p) { return stop(p, Stop::End); };
    begin();
  }

  void begin() {
    llhttp_init(&parser, reader.kind_ == Kind::Request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    parser.data = this;
    in_name = false;
  }

  static Parser& self(llhttp_t* p) { return *static_cast<Parser*>(p->data); }
  static MessageReader& of(llhttp_t* p) { return self(p).reader; }
  static int add(std::string& to, const char* at, std::size_t n) {
    to.append(at, n);
    return 0;
  }
  static int stop(llhttp_t* p, Stop at) {
    self(p).stopped = at;
    return HPE_PAUSED;
  }
  // Fields behind the head are trailers.
  static int on_field(llhttp_t* p, const char* at, std::size_t n) {
    MessageReader& r = of(p);
    if (r.head_done_) return 0;
    if (!self(p).in_name) {
      if (r.head_.fields.size() == kFieldsMax) {
        r.fault_ = "too many fields";
        return -1;
      }
      r.head_.fields.emplace_back();
      self(p).in_name = true;
    }
    return add(r.head_.fields.back().name, at, n);
  }
  static int on_value(llhttp_t* p, const char* at, std::size_t n) {
    MessageReader& r = of(p);
    self(p).in_name = false;
    return r.head_done_ ? 0 : add(r.head_.fields.back().value, at, n);
  }
  static int on_head(llhttp_t* p) {
    MessageReader& r = of(p);
    r.head_.status = llhttp_get_status_code(p);
    r.head_.minor_version = llhttp_get_http_minor(p);
    if (llhttp_get_http_major(p) != 1) r.fault_ = "not HTTP/1";
    if (!r.fault_.empty() || !r.check_head()) return -1;
    r.head_done_ = true;
    // Whether the protocol changes behind it is the owner's to say: it may not want to.
    p->upgrade = 0;
    if (r.to_head_) p->flags |= F_SKIPBODY;
    return stop(p, Stop::Head);
  }

  MessageReader& reader;
  llhttp_settings_t settings;
  llhttp_t parser;
  Stop stopped = Stop::None;
  bool in_name = false;
};

MessageReader::MessageReader(Kind kind, std::size_t head_bytes_max)
    : kind_(kind),
      head_bytes_max_(head_bytes_max),
      parser_(std::make_unique<Parser>(*this)) {}

MessageReader::~MessageReader() = default;

void MessageReader::next() {
  head_ = {};
  body_ = {};
  used_ = since_body_ = 0;
  length_.reset();
  started_ = head_done_ = to_head_ = chunked_ = until_close_ = false;
  parser_->begin();
}

MessageReader::Step MessageReader::fail(std::string_view why) {
  if (fault_.empty()) fault_ = why;
  return Step::Malformed;
}

MessageReader::Step MessageReader::read(Bytes in) {
  Parser& own = *parser_;
  llhttp_t& p = own.parser;
  // What is not the body has a bound; the body in the same bytes does not count. So no more than
  // that is looked at in one go, and an owner calls again.
  const std::size_t room = head_bytes_max_ - std::min(since_body_, head_bytes_max_);
  std::string_view text =
      as_text(in.first(std::min(in.size(), std::max(room, std::size_t{1}))));
  // llhttp takes a null address for "no run is open", and would lose the one that is.
  if (text.empty()) text = "";
  if (llhttp_get_errno(&p) == HPE_PAUSED) llhttp_resume(&p);
  own.stopped = Parser::Stop::None;
  started_ = started_ || !text.empty();
  const llhttp_errno_t e = llhttp_execute(&p, text.data(), text.size());
  if (own.stopped == Parser::Stop::None && e != HPE_OK) {
    used_ = 0;
    const char* why = llhttp_get_error_reason(&p);
    return fail(why == nullptr || *why == '\0' ? llhttp_errno_name(e) : why);
  }
  used_ = text.size();
  // llhttp names the byte that it stopped at.
  if (const char* at = llhttp_get_error_pos(&p); e != HPE_OK && at != nullptr)
    used_ = static_cast<std::size_t>(at - text.data());
  if (own.stopped == Parser::Stop::Body) {
    used_ = static_cast<std::size_t>(as_text(body_).data() - text.data()) + body_.size();
    since_body_ = 0;
    return Step::Body;
  }
  since_body_ += used_;
  if (own.stopped == Parser::Stop::Head) {
    since_body_ = 0;
    return Step::Head;
  }
  if (own.stopped == Parser::Stop::End) return Step::End;
  return since_body_ >= head_bytes_max_ ? Step::TooLong : Step::More;
}

MessageReader::Step MessageReader::end() {
  if (head_done_ && until_close_) return Step::End;
  return fail(started_ ? "the message is cut" : "no message came");
}

bool MessageReader::check_head() {
  if (kind_ == Kind::Response && (head_.status < 100 || head_.status > 599)) {
    fault_ = "a status outside of 100 to 599";
    return false;
  }
  for (Field& f : head_.fields) {
    f.name = http::lower_text(f.name);
    f.value = http::trimmed(f.value);
  }
  return check_framing();
}

// RFC 9112 §6: where the body ends, by fields of which nothing may be doubtful.
bool MessageReader::check_framing() {
  std::size_t codings = 0, lengths = 0;
  for (const Field& f : head_.fields) {
    codings += f.name == "transfer-encoding";
    lengths += f.name == "content-length";
  }
  if (codings > 0) {
    if (lengths > 0) fault_ = "both Content-Length and Transfer-Encoding";
    if (head_.minor_version == 0) fault_ = "Transfer-Encoding in HTTP/1.0";
    if (codings > 1 || !http::same_text(head_.field("transfer-encoding"), "chunked")) {
      fault_ = "a Transfer-Encoding that is not chunked alone";
      fault_status_ = 501;
    }
    chunked_ = true;
  } else if (lengths > 0) {
    if (lengths > 1) fault_ = "several Content-Length fields";
    length_ = parser_->parser.content_length;  // which has checked its digits
  } else {
    until_close_ = kind_ == Kind::Response && !to_head_ && !http::has_no_body(head_.status, {});
  }
  return fault_.empty();
}

// --- requests ------------------------------------------------------------------------------------

Result<http::RequestHead> request_of(Head head, std::string_view scheme) {
  http::RequestHead out;
  out.scheme = scheme;
  out.minor_version = head.minor_version;
  const auto hosts = std::ranges::count(head.fields, "host", &Field::name);
  if (hosts > 1 || (hosts == 0 && head.minor_version > 0))
    return Error{EBADMSG, hosts > 1 ? "several Host fields" : "no Host field"};
  out.authority = http::lower_text(head.field("host"));
  std::erase_if(head.fields, [](const Field& f) { return f.name == "host"; });

  std::string_view target = head.target;
  std::string path_of_its_own;  // where the absolute form has none
  if (head.method == "CONNECT") {
    out.authority = http::lower_text(target);
    target = {};
  } else if (const std::size_t colon = target.find("://");
             !target.starts_with('/') && colon != std::string_view::npos) {
    // The absolute form: its authority is worth more than Host (RFC 9112 §3.2.2).
    out.scheme = http::lower_text(target.substr(0, colon));
    target.remove_prefix(colon + 3);
    const std::size_t path = std::min(target.find_first_of("/?"), target.size());
    out.authority = http::lower_text(target.substr(0, path));
    target.remove_prefix(path);
    if (out.authority.empty()) return Error{EBADMSG, "a target without a host"};
    if (!target.starts_with('/')) path_of_its_own = "/";
  }
  out.target = path_of_its_own.append(target);
  out.method = std::move(head.method);
  if (const std::string_view fault = http::request_fault(out); !fault.empty())
    return Error{EBADMSG, std::string(fault)};
  out.fields = std::move(head.fields);
  return out;
}

}  // namespace adit::http1

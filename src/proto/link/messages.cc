#include "proto/link/messages.h"

#include <jansson.h>

#include <algorithm>
#include <memory>

#include "base/limits.h"
#include "crypto/digest.h"
#include "proto/link/seen_numbers.h"

namespace adit::link {

namespace {

struct JsonFree {
  void operator()(json_t* j) const { json_decref(j); }
};
using Json = std::unique_ptr<json_t, JsonFree>;

ByteVector dump(const Json& j) {
  const std::unique_ptr<char, decltype(&free)> text(json_dumps(j.get(), JSON_COMPACT), &free);
  CHECK(text != nullptr);
  const Bytes b = as_bytes(text.get());
  return {b.begin(), b.end()};
}

json_t* text_of(std::string_view s) {
  if (json_t* j = json_stringn(s.data(), s.size())) return j;
  // Not UTF-8, which JSON cannot say: the ASCII of it still helps whoever reads it.
  std::string ascii(s);
  std::replace_if(ascii.begin(), ascii.end(), [](char c) { return (c & 0x80) != 0; }, '?');
  return json_stringn(ascii.data(), ascii.size());
}
json_t* integer_of(std::uint64_t v) { return json_integer(static_cast<json_int_t>(v)); }

json_t* names_of(const std::vector<std::string>& names) {
  json_t* a = json_array();
  for (const std::string& n : names) json_array_append_new(a, text_of(n));
  return a;
}

void set_ports(json_t* o, const std::optional<PortRange>& ports) {
  if (!ports) return;
  json_t* pair = json_array();
  json_array_append_new(pair, integer_of(ports->first));
  json_array_append_new(pair, integer_of(ports->last));
  json_object_set_new(o, "ports", pair);
}

json_t* offsets_of(const std::vector<StreamOffset>& streams) {
  json_t* a = json_array();
  for (const StreamOffset& s : streams) {
    json_t* pair = json_array();
    json_array_append_new(pair, integer_of(s.stream.value));
    json_array_append_new(pair, integer_of(s.handed));
    json_array_append_new(a, pair);
  }
  return a;
}

// Reads members of one object; the first thing wrong is remembered, what follows gives empty
// values.
class Members {
 public:
  Members(const json_t* object, std::string_view what) : object_(object), what_(what) {
    if (!json_is_object(object)) say("is not an object");
  }

  std::uint64_t integer(const char* key, bool required = true) {
    const json_t* j = get(key, required);
    if (j == nullptr) return 0;
    if (!json_is_integer(j) || json_integer_value(j) < 0) return say(key, "is not a number"), 0;
    return static_cast<std::uint64_t>(json_integer_value(j));
  }
  // Of 32 bits or fewer.
  std::uint32_t number(const char* key, std::uint32_t max = UINT32_MAX) {
    const std::uint64_t n = integer(key);
    if (n > max) return say(key, "is too large"), 0;
    return static_cast<std::uint32_t>(n);
  }
  std::string text(const char* key, std::size_t max, bool required = true) {
    const json_t* j = get(key, required);
    if (j == nullptr) return {};
    if (!json_is_string(j)) return say(key, "is not text"), std::string();
    if (json_string_length(j) > max) return say(key, "is too long"), std::string();
    return {json_string_value(j), json_string_length(j)};
  }
  bool flag(const char* key) {
    const json_t* j = get(key, false);
    if (j != nullptr && !json_is_boolean(j)) say(key, "is not true or false");
    return json_is_true(j);
  }
  // Hex text as bytes.
  ByteVector bytes(const char* key, std::size_t max) {
    auto decoded = crypto::hex_decode(text(key, 2 * max, false));
    if (!decoded) return say(key, "is not hex"), ByteVector();
    return std::move(*decoded);
  }
  const json_t* array(const char* key, std::size_t max) {
    const json_t* j = get(key, false);
    if (j == nullptr) return nullptr;
    if (!json_is_array(j)) return say(key, "is not an array"), nullptr;
    if (json_array_size(j) > max) return say(key, "is too long"), nullptr;
    return j;
  }
  const json_t* object(const char* key) { return get(key, false); }
  std::vector<std::string> names(const char* key) {
    std::vector<std::string> out;
    const json_t* a = array(key, limits::kNamesPerServiceMax);
    for (std::size_t i = 0; i < json_array_size(a); ++i) {
      const json_t* n = json_array_get(a, i);
      if (!json_is_string(n) || json_string_length(n) > 253) return say(key, "holds no names"), out;
      out.emplace_back(json_string_value(n), json_string_length(n));
    }
    return out;
  }
  // "ports": the first and the last.
  std::optional<PortRange> ports() {
    const json_t* a = get("ports", false);
    if (a == nullptr) return std::nullopt;
    const json_int_t first = json_integer_value(json_array_get(a, 0));
    const json_int_t last = json_integer_value(json_array_get(a, 1));
    if (json_array_size(a) != 2 || first < 1 || last < first || last > UINT16_MAX)
      return say("ports", "is not a range of ports"), std::nullopt;
    return PortRange{static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last)};
  }
  std::vector<StreamOffset> offsets(const char* key) {
    std::vector<StreamOffset> out;
    const json_t* a = array(key, kOffsetsMax);
    for (std::size_t i = 0; i < json_array_size(a); ++i) {
      const json_t* pair = json_array_get(a, i);
      const json_int_t stream = json_integer_value(json_array_get(pair, 0));
      const json_t* handed = json_array_get(pair, 1);
      if (stream <= 0 || !json_is_integer(handed) || json_integer_value(handed) < 0)
        return say(key, "holds no offsets"), out;
      out.push_back({StreamNumber{static_cast<std::uint64_t>(stream)},
                     static_cast<std::uint64_t>(json_integer_value(handed))});
    }
    return out;
  }
  std::vector<std::uint64_t> numbers(const char* key, std::size_t max) {
    std::vector<std::uint64_t> out;
    const json_t* a = array(key, max);
    for (std::size_t i = 0; i < json_array_size(a); ++i) {
      const json_t* n = json_array_get(a, i);
      if (!json_is_integer(n) || json_integer_value(n) < 0)
        return say(key, "holds no numbers"), out;
      out.push_back(static_cast<std::uint64_t>(json_integer_value(n)));
    }
    return out;
  }
  void say(std::string_view key, std::string_view wrong) {
    if (!error_) error_ = Error{0, what_ + ": \"" + std::string(key) + "\" " + std::string(wrong)};
  }
  const std::optional<Error>& error() const { return error_; }
  void take_error(const Members& o) {
    if (!error_) error_ = o.error_;
  }

 private:
  void say(std::string_view wrong) {
    if (!error_) error_ = Error{0, what_ + " " + std::string(wrong)};
  }
  const json_t* get(const char* key, bool required) {
    const json_t* j = json_object_get(object_, key);
    if (json_is_null(j)) j = nullptr;
    if (j == nullptr && required) say(key, "is missing");
    return j;
  }

  const json_t* object_;
  std::string what_;
  std::optional<Error> error_;
};

Result<Json> load(Bytes body, std::string_view what) {
  json_error_t error;
  // Depth is bounded by the library (2048 levels, JSON_PARSER_MAX_DEPTH), size by the frame.
  Json j(json_loadb(reinterpret_cast<const char*>(body.data()), body.size(), JSON_REJECT_DUPLICATES,
                    &error));
  if (j == nullptr) return Error{0, std::string(what) + ": " + error.text};
  return j;
}

template <class T>
Result<T> result(T value, const Members& m) {
  if (m.error()) return *m.error();
  return value;
}

}  // namespace

ByteVector to_json(const Hello& m) {
  Json j(json_object());
  json_object_set_new(j.get(), "version", integer_of(m.version));
  json_object_set_new(j.get(), "software", text_of(m.software));
  json_t* services = json_array();
  for (const ServiceWanted& s : m.services) {
    json_t* o = json_object();
    json_object_set_new(o, "number", integer_of(s.number.value));
    json_object_set_new(o, "kind", text_of(s.kind));
    json_object_set_new(o, "names", names_of(s.names));
    set_ports(o, s.ports);
    if (s.quic) json_object_set_new(o, "quic", json_true());
    json_array_append_new(services, o);
  }
  json_object_set_new(j.get(), "services", services);
  if (m.yields) json_object_set_new(j.get(), "yields", json_true());
  if (m.resume) {
    json_t* o = json_object();
    json_object_set_new(o, "session", text_of(m.resume->session));
    json_object_set_new(o, "proof", text_of(crypto::hex_encode(m.resume->proof)));
    json_object_set_new(o, "seen_next", integer_of(m.resume->seen_next));
    json_t* unseen = json_array();
    for (std::uint64_t n : m.resume->unseen) json_array_append_new(unseen, integer_of(n));
    json_object_set_new(o, "unseen", unseen);
    json_object_set_new(o, "streams", offsets_of(m.resume->streams));
    json_object_set_new(j.get(), "resume", o);
  }
  return dump(j);
}

ByteVector to_json(const Welcome& m) {
  Json j(json_object());
  json_object_set_new(j.get(), "software", text_of(m.software));
  json_object_set_new(j.get(), "session", text_of(m.session));
  json_object_set_new(j.get(), "secret", text_of(crypto::hex_encode(m.secret)));
  json_object_set_new(j.get(), "resumed", json_boolean(m.resumed));
  json_object_set_new(j.get(), "public_port", integer_of(m.public_port));
  json_object_set_new(j.get(), "affinity", integer_of(m.affinity));
  json_object_set_new(j.get(), "resume_window_ms", integer_of(m.resume_window_ms));
  json_t* services = json_array();
  for (const ServiceGranted& s : m.services) {
    json_t* o = json_object();
    json_object_set_new(o, "number", integer_of(s.number.value));
    json_object_set_new(o, "names", names_of(s.names));
    set_ports(o, s.ports);
    json_array_append_new(services, o);
  }
  json_object_set_new(j.get(), "services", services);
  json_object_set_new(j.get(), "next_stream", integer_of(m.next_stream));
  json_object_set_new(j.get(), "streams", offsets_of(m.streams));
  return dump(j);
}

ByteVector to_json(const Refused& m) {
  Json j(json_object());
  json_object_set_new(j.get(), "code", text_of(m.code));
  json_object_set_new(j.get(), "text", text_of(m.text));
  json_object_set_new(j.get(), "retry_after_ms", integer_of(m.retry_after_ms));
  json_object_set_new(j.get(), "again", json_boolean(m.again));
  return dump(j);
}

ByteVector to_json(const Goaway& m) {
  Json j(json_object());
  json_object_set_new(j.get(), "deadline_ms", integer_of(m.deadline_ms));
  return dump(j);
}

ByteVector to_json(const Join& m) {
  Json j(json_object());
  json_object_set_new(j.get(), "session", text_of(m.session));
  json_object_set_new(j.get(), "proof", text_of(crypto::hex_encode(m.proof)));
  return dump(j);
}

Result<Hello> parse_hello(Bytes body) {
  auto j = load(body, "HELLO");
  if (!j) return std::move(j).error();
  Members m(j->get(), "HELLO");
  Hello out;
  out.version = m.number("version");
  out.software = m.text("software", 100, false);
  const json_t* services = m.array("services", limits::kServicesPerAgentMax);
  for (std::size_t i = 0; i < json_array_size(services); ++i) {
    Members s(json_array_get(services, i), "HELLO service");
    const ServiceNumber number{s.number("number")};
    const std::string kind = s.text("kind", 16);
    const auto names = s.names("names");
    out.services.push_back({number, kind, names, s.ports(), s.flag("quic")});
    m.take_error(s);
  }
  out.yields = m.flag("yields");
  if (const json_t* resume = m.object("resume")) {
    Members r(resume, "HELLO resume");
    ResumeRequest q;
    q.session = r.text("session", 64);
    q.proof = r.bytes("proof", 64);
    q.seen_next = r.integer("seen_next");
    q.unseen = r.numbers("unseen", kUnseenMax);
    q.streams = r.offsets("streams");
    m.take_error(r);
    out.resume = std::move(q);
  }
  return result(std::move(out), m);
}

Result<Welcome> parse_welcome(Bytes body) {
  auto j = load(body, "WELCOME");
  if (!j) return std::move(j).error();
  Members m(j->get(), "WELCOME");
  Welcome out;
  out.software = m.text("software", 100, false);
  out.session = m.text("session", 64);
  out.secret = m.bytes("secret", 64);
  out.resumed = m.flag("resumed");
  out.public_port = static_cast<std::uint16_t>(m.number("public_port", UINT16_MAX));
  if (out.public_port == 0) m.say("public_port", "is not a port");
  out.affinity = static_cast<std::uint8_t>(m.number("affinity", UINT8_MAX));
  out.resume_window_ms = m.integer("resume_window_ms");
  const json_t* services = m.array("services", limits::kServicesPerAgentMax);
  for (std::size_t i = 0; i < json_array_size(services); ++i) {
    Members s(json_array_get(services, i), "WELCOME service");
    const ServiceNumber number{s.number("number")};
    const auto names = s.names("names");
    out.services.push_back({number, names, s.ports()});
    m.take_error(s);
  }
  out.next_stream = m.integer("next_stream");
  out.streams = m.offsets("streams");
  return result(std::move(out), m);
}

Result<Refused> parse_refused(Bytes body) {
  auto j = load(body, "REFUSED");
  if (!j) return std::move(j).error();
  Members m(j->get(), "REFUSED");
  Refused out;
  out.code = m.text("code", 64);
  out.text = m.text("text", 1024, false);
  out.retry_after_ms = m.integer("retry_after_ms", false);
  out.again = m.flag("again");
  return result(std::move(out), m);
}

Result<Goaway> parse_goaway(Bytes body) {
  auto j = load(body, "GOAWAY");
  if (!j) return std::move(j).error();
  Members m(j->get(), "GOAWAY");
  Goaway out;
  out.deadline_ms = m.integer("deadline_ms", false);
  return result(std::move(out), m);
}

Result<Join> parse_join(Bytes body) {
  auto j = load(body, "JOIN");
  if (!j) return std::move(j).error();
  Members m(j->get(), "JOIN");
  Join out;
  out.session = m.text("session", 64);
  out.proof = m.bytes("proof", 64);
  if (out.proof.empty()) return Error{0, "JOIN without a proof"};
  return result(std::move(out), m);
}

}  // namespace adit::link

#include "proto/node/request.h"

#include <jansson.h>

#include <array>
#include <memory>
#include <utility>

namespace adit::node {

namespace {

struct JsonFree {
  void operator()(json_t* j) const { json_decref(j); }
};
using Json = std::unique_ptr<json_t, JsonFree>;

constexpr std::array<std::pair<std::string_view, OpKind>, 6> kNames = {{
    {"connect", OpKind::Connect},
    {"connect_data", OpKind::ConnectData},
    {"data", OpKind::Data},
    {"udp_open", OpKind::UdpOpen},
    {"udp_data", OpKind::UdpData},
    {"close", OpKind::Close},
}};

// Reads members of known types and keeps the first fault.
class Members {
 public:
  Members(std::vector<std::string>& set_aside, std::string& fault)
      : set_aside_(set_aside), fault_(fault) {}

  void of(const json_t* object, std::string_view where) {
    object_ = object;
    where_ = where;
  }
  // Null where it is missing or null.
  const json_t* find(const char* name) const {
    const json_t* j = json_object_get(object_, name);
    return j == nullptr || json_is_null(j) ? nullptr : j;
  }
  std::optional<std::string> text(const char* name) {
    const json_t* j = find(name);
    if (j == nullptr) return std::nullopt;
    if (!json_is_string(j)) return wrong(name, "expected a string"), std::nullopt;
    return value_of({json_string_value(j), json_string_length(j)});
  }
  std::optional<std::uint64_t> number(const char* name, std::uint64_t most) {
    const json_t* j = find(name);
    if (j == nullptr) return std::nullopt;
    if (!json_is_integer(j)) return wrong(name, "expected an integer"), std::nullopt;
    const json_int_t n = json_integer_value(j);
    if (n < 0 || static_cast<std::uint64_t>(n) > most)
      return wrong(name, "the number is out of range"), std::nullopt;
    return static_cast<std::uint64_t>(n);
  }
  void wrong(std::string_view name, std::string_view what) {
    if (!fault_.empty()) return;
    fault_ = std::string(where_);
    if (!fault_.empty() && !name.empty()) fault_ += '.';
    fault_.append(name).append(": ").append(what);
  }

 private:
  // A long string is moved out of where it was set aside. One that was written as if it were such
  // may name another of the same request: nobody is deceived but who wrote it.
  std::string value_of(std::string_view text) {
    const std::int64_t at = RequestScanner::reference(text);
    if (at < 0 || static_cast<std::size_t>(at) >= set_aside_.size()) return std::string(text);
    return std::exchange(set_aside_[static_cast<std::size_t>(at)], {});
  }

  std::vector<std::string>& set_aside_;
  std::string& fault_;
  const json_t* object_ = nullptr;
  std::string_view where_;
};

Json load(const RequestScanner& scanned, std::size_t flags, Fault& fault) {
  const std::string& text = scanned.skeleton();
  json_error_t error;
  Json out(json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | flags,
                      &error));
  if (!out) {
    const bool duplicate = json_error_code(&error) == json_error_duplicate_key;
    fault = {duplicate ? Fault::Kind::Shape : Fault::Kind::Syntax, error.text};
  }
  return out;
}

Op read_op(Members& members, const char* data_name) {
  Op op;
  const auto name = members.text("op");
  if (!name) members.wrong("op", "missing field");
  op.name = name.value_or("");
  op.kind = op_kind(op.name);
  op.sid = members.text("sid");
  op.host = members.text("host");
  op.data = members.text(data_name);
  if (const auto port = members.number("port", UINT16_MAX))
    op.port = static_cast<std::uint16_t>(*port);
  return op;
}

void read_ops(const json_t* array, Members& members, std::vector<Op>& out) {
  if (!json_is_array(array)) return members.wrong("ops", "expected an array");
  const std::size_t count = json_array_size(array);
  if (count > limits::kNodeOpsMax) return members.wrong("ops", "too many ops");
  out.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string where = "ops[" + std::to_string(i) + "]";
    const json_t* item = json_array_get(array, i);
    members.of(item, where);
    if (!json_is_object(item)) return members.wrong("", "expected an object");
    out.push_back(read_op(members, "d"));
    out.back().seq = members.number("seq", INT64_MAX);
    out.back().wseq = members.number("wseq", INT64_MAX);
  }
}

}  // namespace

OpKind op_kind(std::string_view name) {
  for (const auto& [known, kind] : kNames)
    if (name == known) return kind;
  return OpKind::Unknown;
}

Parsed<Op> parse_single(RequestScanner& scanned) {
  Fault fault;
  const Json root = load(scanned, JSON_DISABLE_EOF_CHECK, fault);
  if (!root) return fault;
  std::string wrong;
  Members members(scanned.set_aside(), wrong);
  members.of(root.get(), "");
  if (!json_is_object(root.get())) return Fault{Fault::Kind::Shape, "expected an object"};
  if (scanned.key() == nullptr) members.wrong("k", "missing field, or not a string");
  Op op = read_op(members, "data");
  if (!wrong.empty()) return Fault{Fault::Kind::Shape, wrong};
  return op;
}

Parsed<Batch> parse_batch(RequestScanner& scanned) {
  Fault fault;
  const Json root = load(scanned, 0, fault);
  if (!root) return fault;
  std::string wrong;
  Members members(scanned.set_aside(), wrong);
  members.of(root.get(), "");
  if (!json_is_object(root.get())) return Fault{Fault::Kind::Shape, "expected an object"};
  if (scanned.key() == nullptr) members.wrong("k", "missing field, or not a string");
  Batch out;
  out.zops = members.text("zops");
  if (const auto zc = members.number("zc", UINT8_MAX)) out.zc = static_cast<std::uint8_t>(*zc);
  const json_t* ops = members.find("ops");
  if (ops == nullptr && !out.zops && !out.zc) members.wrong("ops", "missing field");
  if (ops != nullptr) read_ops(ops, members, out.ops);
  if (!wrong.empty()) return Fault{Fault::Kind::Shape, wrong};
  return out;
}

Parsed<std::vector<Op>> parse_ops(RequestScanner& scanned) {
  Fault fault;
  const Json root = load(scanned, 0, fault);
  if (!root) return fault;
  std::string wrong;
  Members members(scanned.set_aside(), wrong);
  members.of(nullptr, "");
  std::vector<Op> out;
  read_ops(root.get(), members, out);
  if (!wrong.empty()) return Fault{Fault::Kind::Shape, wrong};
  return out;
}

}  // namespace adit::node

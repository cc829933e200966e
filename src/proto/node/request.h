// Requests of the HTTP tunnel node as values: one op (POST /tunnel) or a batch of them
// (POST /tunnel/batch).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "proto/node/request_scanner.h"

namespace adit::node {

enum class OpKind : std::uint8_t { Connect, ConnectData, Data, UdpOpen, UdpData, Close, Unknown };
OpKind op_kind(std::string_view name);  // case matters

// A member that is missing, or null, is unset. `data` is base64 still: "data" of a single op, "d"
// in a batch.
struct Op {
  OpKind kind = OpKind::Unknown;
  std::string name;
  std::optional<std::string> sid, host, data;
  std::optional<std::uint16_t> port;
  std::optional<std::uint64_t> seq, wseq;

  bool operator==(const Op&) const = default;
};

struct Batch {
  std::vector<Op> ops;
  std::optional<std::string> zops;  // base64 of a compressed array of ops, instead of `ops`
  std::optional<std::uint8_t> zc;   // what the client understands: 1 compression, 2 replay

  bool operator==(const Batch&) const = default;
};

struct Fault {
  enum class Kind : std::uint8_t { Syntax, Shape };
  Kind kind = Kind::Syntax;
  std::string text;
};

template <class T>
using Parsed = std::variant<T, Fault>;

// Each takes the scanned text's strings along. The key is looked at by nobody here, but for being a
// string. What stands behind a single op's document is ignored, behind a batch's a fault.
Parsed<Op> parse_single(RequestScanner& scanned);
Parsed<Batch> parse_batch(RequestScanner& scanned);
// What `zops` held: an array of ops.
Parsed<std::vector<Op>> parse_ops(RequestScanner& scanned);

}  // namespace adit::node

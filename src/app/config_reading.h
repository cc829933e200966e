// Reads typed values out of nodes and notes every fault. Internal to the configuration's loaders.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/config.h"
#include "app/config_node.h"
#include "base/result.h"

namespace adit::app {

class Reading {
 public:
  static constexpr std::size_t kErrorsMax = 100;

  // `path` ("limits.drain_ms") stands before `what` unless the source is a flag or a variable,
  // which says it already.
  void fault(const Place& place, std::string_view path, std::string what, std::string hint = {});
  // Something that no source has.
  void missing(std::string what, std::string hint);
  // A key that no table of ours has. `section` ("[log]") is where it stands, empty at the top.
  void unknown_key(const NodeEntry& entry, std::string_view section,
                   std::span<const std::string> known, std::string hint = {});

  std::optional<bool> boolean(const Node& node, std::string_view path);
  std::optional<std::int64_t> number(const Node& node, std::string_view path, std::int64_t min,
                                     std::int64_t max);
  // Not empty; no control characters, so that a path is what it looks like in a log.
  std::optional<std::string> text(const Node& node, std::string_view path);
  // One of `words`, by index.
  std::optional<std::size_t> choice(const Node& node, std::string_view path,
                                    std::span<const std::string> words);
  // The items of an array; a node that is none is its own only item. An empty array is a fault.
  std::vector<const Node*> items(const Node& node, std::string_view path);

  // A text that `parse` understands.
  template <class T>
  std::optional<T> parsed(const Node& node, std::string_view path,
                          Result<T> (*parse)(std::string_view)) {
    const auto words = text(node, path);
    if (!words) return std::nullopt;
    Result<T> value = parse(*words);
    if (value) return std::move(*value);
    fault(node.place, path, value.error().what);
    return std::nullopt;
  }

  // Where the value of a key came from ("route[1]"), for what is checked after all sources were
  // read.
  void remember(const std::string& path, const Place& place) { places_[path] = place; }
  // Whether any source had the key, be it with a fault.
  bool given(const std::string& path) const { return places_.contains(path); }
  Place place(const std::string& path) const;

  std::vector<ConfigError> errors;

 private:
  void wrong_type(const Node& node, std::string_view path, std::string_view expected,
                  std::string hint = {});

  std::map<std::string, Place> places_;
};

}  // namespace adit::app

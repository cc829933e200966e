#include "service/edge/visitor_journal.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace adit::service {

namespace {

constexpr std::size_t kIdDigits = 16;

void cut(std::string& text) {
  if (text.size() > VisitorJournal::kTextBytesMax) text.resize(VisitorJournal::kTextBytesMax);
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

// A name of the hello may have the root's dot at its end.
std::string_view without_dot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

}  // namespace

std::string visitor_id_text(std::uint64_t id) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out(kIdDigits, '0');
  for (std::size_t i = kIdDigits; i-- > 0; id >>= 4) out[i] = kDigits[id & 15];
  return out;
}

std::optional<std::uint64_t> parse_visitor_id(std::string_view text) {
  std::uint64_t out = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), out, 16);
  if (text.size() != kIdDigits || read.ec != std::errc{} || read.ptr != text.data() + text.size())
    return std::nullopt;
  return out;
}

VisitorTag VisitorJournal::begin(VisitorRecord record) {
  record.id = next_++;
  return adopt(std::move(record));
}

VisitorTag VisitorJournal::adopt(VisitorRecord record) {
  std::transform(record.sni.begin(), record.sni.end(), record.sni.begin(), lower);
  // Whatever a visitor wrote: a terminal shows it.
  for (char& c : record.alpn)
    if (c < 0x20 || c > 0x7e) c = '?';
  for (std::string* text : {&record.sni, &record.alpn, &record.decision, &record.destination})
    cut(*text);
  const VisitorTag tag{record.id, ring_.empty() ? 0 : (newest_ + 1) % capacity_};
  newest_ = tag.slot;
  if (tag.slot == ring_.size()) {
    ring_.push_back(std::move(record));
  } else {
    ring_[tag.slot] = std::move(record);
  }
  return tag;
}

VisitorRecord* VisitorJournal::find(const VisitorTag& tag) {
  if (tag.id == 0 || tag.slot >= ring_.size() || ring_[tag.slot].id != tag.id) return nullptr;
  return &ring_[tag.slot];
}

void VisitorJournal::leads_to(const VisitorTag& tag, std::string_view destination) {
  VisitorRecord* record = find(tag);
  if (record == nullptr) return;
  record->destination = destination;
  cut(record->destination);
}

// The first word counts: what is aborted after its refusal stays refused.
void VisitorJournal::end(const VisitorTag& tag, std::string_view outcome, WallTime now,
                         std::uint64_t bytes_in, std::uint64_t bytes_out) {
  VisitorRecord* record = find(tag);
  if (record == nullptr || !record->outcome.empty()) return;
  record->outcome = outcome;
  cut(record->outcome);
  record->took = Duration{std::max<std::int64_t>(now.ns - record->at.ns, 0)};
  record->bytes_in = bytes_in;
  record->bytes_out = bytes_out;
}

std::vector<VisitorRecord> VisitorJournal::matching(std::string_view what) const {
  const auto id = parse_visitor_id(what);
  std::string name(without_dot(what));
  std::transform(name.begin(), name.end(), name.begin(), lower);
  const std::string agent = "agent " + name + " ";
  std::vector<VisitorRecord> out;
  for (std::size_t i = 0; i < ring_.size() && out.size() < kMatchesMax; ++i) {
    const VisitorRecord& record = ring_[(newest_ + ring_.size() - i) % ring_.size()];
    const bool named = without_dot(record.sni) == name || record.destination.starts_with(agent);
    const bool meant = id ? record.id == *id : named;
    if (meant) out.push_back(record);
  }
  return out;
}

}  // namespace adit::service

#include "service/agent/relay_trust.h"

#include "base/bytes.h"

namespace adit::service {

RelayTrust::Mode RelayTrust::mode() {
  if (!pin_.empty()) return Mode::ByKey;
  auto known = file_.read();
  const auto entry = known ? known->find(relay_) : std::nullopt;
  if (entry && *entry == kWebPki) return Mode::WebPki;
  // A remembered key is tried by key; if the key changed, a certificate of the public web may
  // explain it.
  if (entry) return web_pki_failed_ ? Mode::WebPki : Mode::ByKey;
  return web_pki_failed_ ? Mode::ByKey : Mode::WebPki;
}

Status RelayTrust::accept(const std::string& pin_seen, Mode used) {
  if (!pin_.empty()) {
    if (pin_seen == pin_) return {};
    return Error{0, "the relay's key is " + pin_seen + ", pinned is " + pin_};
  }
  auto known = file_.read();
  if (!known) log_.warn("agent.known_relays_unreadable", {{"what", known.error().what}});
  const auto entry = known ? known->find(relay_) : std::nullopt;
  if (used == Mode::ByKey && entry) {
    if (*entry == pin_seen) return {};
    web_pki_failed_ = true;  // the next attempt asks the public web
    return Error{0, "the relay's key has CHANGED: it is " + pin_seen + ", remembered is " + *entry +
                        "; if that is right, remove the line of " + relay_ + " from " +
                        file_.path()};
  }
  web_pki_failed_ = false;
  const std::string what = used == Mode::WebPki ? std::string(kWebPki) : pin_seen;
  if (entry == what) return {};
  if (used == Mode::ByKey) {
    log_.warn("agent.relay_first_seen", {{"relay", relay_}, {"key", pin_seen},
                                         {"what", "no public certificate: its key is remembered"}});
  }
  if (auto kept = file_.remember(relay_, what); !kept) {
    // The link is as good as it was; only the next start cannot compare.
    log_.error("agent.known_relays_unwritable", {{"what", kept.error().what}, {"relay", relay_}});
  }
  return {};
}

bool RelayTrust::certificate_failed() {
  if (!pin_.empty()) return false;
  auto known = file_.read();
  const auto entry = known ? known->find(relay_) : std::nullopt;
  if (entry && *entry == kWebPki) return false;  // it was public once: nothing less will do
  const bool first = !web_pki_failed_;
  web_pki_failed_ = !entry;
  return first && !entry;
}

}  // namespace adit::service

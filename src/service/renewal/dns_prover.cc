#include "service/renewal/dns_prover.h"

#include <algorithm>

#include "base/limits_acme.h"

namespace adit::service {

DnsProver::DnsProver(io::Loop& loop, Log& log, std::string program)
    : loop_(loop),
      log_(log),
      program_(std::move(program)),
      step_(loop, Delegate<void()>::to<&DnsProver::on_run_over>(this)) {}

// RFC 8555 §8.4
std::string DnsProver::record_of(const acme::Proof& proof) {
  return "_acme-challenge." + proof.name;
}

void DnsProver::prove(const std::vector<acme::Proof>& proofs, Done done) {
  CHECK(!proofs.empty());
  ++groups_;
  for (const acme::Proof& p : proofs)
    runs_.push_back(Run{true, record_of(p), p.dns_value, {}, groups_});
  runs_.back().done = done;
  next();
}

void DnsProver::withdraw(const std::vector<acme::Proof>& proofs) {
  for (const acme::Proof& p : proofs) {
    // What was not begun need not be undone. The one under way tells nobody any more.
    std::erase_if(runs_, [this, &p](const Run& r) {
      return r.add && r.value == p.dns_value && !(busy_ && &r == &runs_.front());
    });
    if (busy_ && runs_.front().add && runs_.front().value == p.dns_value) {
      runs_.front().done = {};
      runs_.front().group = 0;
    }
    runs_.push_back(Run{false, record_of(p), p.dns_value, {}, 0});
  }
  next();
}

void DnsProver::next() {
  if (busy_ || runs_.empty()) return;
  busy_ = true;
  const Run& run = runs_.front();
  auto child = io::Child::start(loop_, {program_, run.add ? "add" : "remove", run.name, run.value},
                                Deadline::after(loop_.now(), limits::kAcmeHookDeadline),
                                io::Child::Done::to<&DnsProver::on_child>(this));
  if (child) {
    child_ = std::move(*child);
  } else {
    over(std::move(child).error());
  }
}

void DnsProver::on_child(Status status) { over(std::move(status)); }

// What follows is done outside of the child's call and of ours.
void DnsProver::over(Status status) {
  outcome_ = std::move(status);
  step_.set(loop_.now());
}

void DnsProver::on_run_over() {
  child_.reset();
  const Run run = std::move(runs_.front());
  runs_.pop_front();
  busy_ = false;
  if (!outcome_)
    log_.warn("acme.dns_hook", {{"name", run.name}, {"action", run.add ? "add" : "remove"},
                                {"what", outcome_.error().what}});
  Done done = run.done;
  if (!outcome_ && run.group != 0 && !done) {
    // The rest of its group is of no use.
    for (const Run& r : runs_)
      if (r.group == run.group && r.done) done = r.done;
    std::erase_if(runs_, [&run](const Run& r) { return r.group == run.group; });
  }
  const Status outcome = std::exchange(outcome_, {});
  next();
  if (done && run.group != 0) done(outcome);
}

}  // namespace adit::service

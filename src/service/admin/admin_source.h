// What the admin server serves: whoever runs (a relay, an agent) answers for itself.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/delegate.h"
#include "base/list.h"

namespace adit::service {

enum class AdminPage : std::uint8_t {
  StatusJson,
  StatusText,
  Metrics,
  AgentsJson,
  AgentsText,
  ExplainJson,  // of a name, or of a visitor's id
  ExplainText,
  Kick,         // an order: the agent's session ends
};

// One page that is being made for one client. The asker may destroy it before it is answered: it
// leaves the source's list then, and nobody is told.
class AdminQuestion : public ListNode<AdminQuestion> {
 public:
  using Answer = Delegate<void(std::string body)>;

  AdminQuestion(AdminPage page, std::string argument, Answer answer)
      : page_(page), argument_(std::move(argument)), answer_(answer) {}

  AdminPage page() const { return page_; }
  // What the page is asked about; empty where it takes nothing.
  const std::string& argument() const { return argument_; }
  // Once; the question may be gone afterwards.
  void answer(std::string body) {
    unlink();
    answer_(std::move(body));
  }

 private:
  AdminPage page_;
  std::string argument_;
  Answer answer_;
};

class AdminSource {
 public:
  // Answers on the loop's thread, at once or within a few seconds. Until then the question may only
  // be held in a list, which it leaves when its asker goes.
  virtual void ask(AdminQuestion& question) = 0;

  struct Reloaded {
    bool ok = false;  // false: what ran before goes on
    std::string text;  // whole lines, for the operator
  };
  // `dry_run`: says what would change, and changes nothing.
  virtual Reloaded reload(bool dry_run) = 0;
  // Whether there is such a page here.
  virtual bool has(AdminPage) const { return true; }

 protected:
  ~AdminSource() = default;
};

}  // namespace adit::service

// Intrusive doubly linked list: no allocation, O(1) removal, and an element that dies leaves its
// list.
#pragma once

#include "base/check.h"

namespace adit {

// Derive as `class X : public ListNode<SomeTag>`; an element may be in one list per tag.
template <class Tag>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (!linked()) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = nullptr;
  }

 private:
  template <class, class>
  friend class List;
  ListNode* next_ = nullptr;
  ListNode* prev_ = nullptr;
};

template <class T, class Tag>
class List {
 public:
  List() { head_.next_ = head_.prev_ = &head_; }
  ~List() {
    while (!empty()) pop_front();
    head_.next_ = head_.prev_ = nullptr;
  }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  bool empty() const { return head_.next_ == &head_; }
  void push_back(T& element) {
    ListNode<Tag>& n = element;
    CHECK(!n.linked());
    n.prev_ = head_.prev_;
    n.next_ = &head_;
    head_.prev_->next_ = &n;
    head_.prev_ = &n;
  }
  T* back() { return empty() ? nullptr : static_cast<T*>(head_.prev_); }
  T* front() { return empty() ? nullptr : static_cast<T*>(head_.next_); }
  T* pop_front() {
    T* first = front();
    if (first != nullptr) static_cast<ListNode<Tag>*>(first)->unlink();
    return first;
  }
  // Moves all elements of `other` behind ours.
  void take_all(List& other) {
    while (T* e = other.pop_front()) push_back(*e);
  }

 private:
  ListNode<Tag> head_;
};

}  // namespace adit

// Conversations owned by their service: each is one object, found by its address, destroyed by the
// service when it says that it is over. Counting is free, and nothing outlives the service.
#pragma once

#include <cstddef>
#include <memory>

#include "base/list.h"

namespace adit::service {

template <class T>
class OwnedList {
 public:
  ~OwnedList() { clear(); }

  T& add(std::unique_ptr<T> element) {
    T& ref = *element.release();
    list_.push_back(ref);
    ++size_;
    return ref;
  }
  // Destroys it; the caller touches nothing of it afterwards.
  void erase(T& element) { take(element).reset(); }
  std::unique_ptr<T> take(T& element) {
    static_cast<ListNode<T>&>(element).unlink();
    --size_;
    return std::unique_ptr<T>(&element);
  }
  T* oldest() { return list_.front(); }
  T* newest() { return list_.back(); }
  std::size_t size() const { return size_; }
  void clear() {
    while (T* first = list_.front()) erase(*first);
  }

 private:
  List<T, T> list_;
  std::size_t size_ = 0;
};

}  // namespace adit::service

#include "app/heap_keeper.h"

#include <malloc.h>

namespace adit::app {

namespace {
// To look costs some 100 microseconds, to give back a millisecond for 10 MiB.
constexpr Duration kEvery = 15s;
constexpr std::size_t kFreeBytesMin = 4 << 20;
// Less than this part of what is in use is not worth the pages that are soon wanted again.
constexpr std::size_t kPartOfUse = 8;
}  // namespace

HeapKeeper::HeapKeeper(io::Loop& loop)
    : loop_(loop), timer_(loop, Delegate<void()>::to<&HeapKeeper::look>(this)) {
  timer_.set(loop_.now() + kEvery);
}

void HeapKeeper::look() {
#ifdef __GLIBC__
  const struct mallinfo2 heap = mallinfo2();
  if (heap.fordblks > kFreeBytesMin && heap.fordblks > heap.uordblks / kPartOfUse) malloc_trim(0);
#endif
  timer_.set(loop_.now() + kEvery);
}

}  // namespace adit::app

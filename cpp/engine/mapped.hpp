// Memory maps whose file becomes shorter while they are read. Touching a page beyond the end of the
// file is a bus error, which ends the process; of a range that is watched, what lies there reads as
// zeros from then on, and the range is lost: whoever watches it says so.
#pragma once

#include <cstddef>

namespace pairtile {

class WatchedRange {
  public:
    // Throws std::runtime_error where too many are watched already.
    WatchedRange(const void* data, size_t bytes);
    ~WatchedRange();
    WatchedRange(const WatchedRange&) = delete;
    WatchedRange& operator=(const WatchedRange&) = delete;

    bool lost() const;

  private:
    size_t slot_;
};

}  // namespace pairtile

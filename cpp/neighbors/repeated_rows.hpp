// Rows that a good part of the references repeat bit for bit: what is known of one copy is known of
// all. Without it a search would rescore each of them, since no screen can tell them apart.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"

namespace pairtile {

class CommonRows {
  public:
    CommonRows() = default;  // none
    // Looks at a sample first; only where it repeats itself are all rows read.
    CommonRows(const Source& source, Control& control);

    // Which of the common rows row i is, 0 for none of them.
    uint8_t which(int64_t i) const { return which_.empty() ? 0 : which_[static_cast<size_t>(i)]; }

  private:
    std::vector<uint8_t> which_;
};

}  // namespace pairtile

#include "kernels/shuffles.hpp"

#include <algorithm>
#include <bit>
#include <vector>

namespace pairtile {
namespace {

constexpr uint32_t drawn_at_once = 1024;

// For the places `last`, last − 1, … down to `first` ≥ 1: a whole number up to each, from as many
// random numbers as NumPy takes, the first whose low bits are no more than the place. One in three
// or so is more, which no processor foresees: it is written, and written over by the next.
inline void draw_up_to(RandomBits random, uint32_t last, uint32_t first, uint32_t* drawn) {
    while (last >= first) {
        const uint32_t mask = ~uint32_t{0} >> std::countl_zero(last);
        const uint32_t end = std::max(first, mask / 2 + 1);  // of the places that have so many bits
        while (last >= end) {
            *drawn = random.next(random.state) & mask;
            const uint32_t taken = *drawn <= last ? 1 : 0;
            drawn += taken;
            last -= taken;
        }
    }
}

// Fisher and Yates from the last place down: done(place, member) for all places from `first` on.
// The members before are left in values[0 … first), in an order of no meaning.
template <class Done>
void shuffle_down_to(RandomBits random, uint32_t first, uint32_t size, uint32_t* values,
                     Done done) {
    uint32_t drawn[drawn_at_once + 1];  // the last may be written in vain
    for (uint32_t stop = size; stop > 1;) {
        const uint32_t start = stop - std::min(stop - 1, drawn_at_once);
        draw_up_to(random, stop - 1, start, drawn);
        for (uint32_t place = stop; place-- > std::max(first, start);) {
            const uint32_t at = drawn[stop - 1 - place], member = values[at];
            values[at] = values[place];
            done(place, member);
        }
        stop = start;
    }
    if (first == 0 && size > 0) done(0, values[0]);
}

}  // namespace

void random_labels(RandomBits random, const Cells& cells, const uint32_t* chosen,
                   const uint32_t* of_row, int64_t rows, int64_t count, uint64_t* labels) {
    const int64_t words = (rows + 63) / 64;
    std::vector<uint32_t> values(cells.members.size());
    std::vector<uint64_t> of_units((cells.members.size() + 63) / 64);
    for (int64_t b = 0; b < count; ++b) {
        uint64_t* bits = labels + b * words;
        uint64_t* units = of_row == nullptr ? bits : of_units.data();
        std::fill_n(units, of_row == nullptr ? words : std::ssize(of_units), ~uint64_t{0});
        std::copy(cells.members.begin(), cells.members.end(), values.begin());
        uint32_t* cell = values.data();
        for (size_t c = 0; c < cells.sizes.size(); cell += cells.sizes[c], ++c) {
            shuffle_down_to(random, chosen[c], cells.sizes[c], cell, [&](uint32_t, uint32_t unit) {
                units[unit / 64] &= ~(uint64_t{1} << unit % 64);
            });
        }
        if (of_row != nullptr) {
            std::fill_n(bits, words, 0);
            for (int64_t i = 0; i < rows; ++i) {
                const uint32_t unit = of_row[i];
                bits[i / 64] |= (units[unit / 64] >> unit % 64 & 1) << i % 64;
            }
        } else if (rows % 64 != 0) {
            bits[words - 1] &= (uint64_t{1} << rows % 64) - 1;
        }
    }
}

void random_orders(RandomBits random, const Cells& cells, int64_t count, int64_t* orders) {
    std::vector<uint32_t> values(cells.members.size());
    for (int64_t b = 0; b < count; ++b, orders += std::ssize(values)) {
        std::copy(cells.members.begin(), cells.members.end(), values.begin());
        size_t start = 0;
        for (const uint32_t size : cells.sizes) {
            const uint32_t* members = cells.members.data() + start;
            shuffle_down_to(
                random, 0, size, values.data() + start,
                [&](uint32_t place, uint32_t member) { orders[members[place]] = member; });
            start += size;
        }
    }
}

}  // namespace pairtile

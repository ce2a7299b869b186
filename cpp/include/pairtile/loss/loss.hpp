// What a loss of positives and negatives is made of: a class template L<T> over the similarity c of
// a pair with positive(c) and negative(c), the logits whose log-sum-exps over the positives and
// over the negatives of a row are all that its loss knows of it, their slopes by c, and
// finish(parameters, log-sum-exp of positives, of negatives), each −∞ where there is none.
#pragma once

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// The loss of a row, and its derivatives by the two log-sum-exps.
struct PairLoss {
    double value, by_positives, by_negatives;
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile

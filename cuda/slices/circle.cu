// Transport of angles on circles: a plan that keeps their order is a shift, and its cost convex.
// What `cpp/slices/circle.hpp` computes; here a block takes one circle.
#include <numeric>

#include "pairtile/slice/cost.hpp"
#include "pairtile/slice/key.hpp"
#include "pairtile/slice/shift.hpp"
#include "slices/shares.cuh"

namespace pairtile::gpu {
namespace {

constexpr double turns_per_radian = 0.15915494309189534561;  // 1/(2π)

// A thread for each row of each circle, whose two coordinates are the lists c and count + c: its
// angle in turns takes the place of the first.
template <class T>
__global__ void __launch_bounds__(block_threads)
    turn_keys(Key<T>* keys, int64_t rows, int64_t stride, int64_t count, int64_t shares) {
    const Part part(shares);
    Key<T>* const first = keys + part.list * stride;
    const Key<T>* const second = first + count * stride;
    for (int s = 0; s < share / block_threads; ++s) {
        const int64_t i = part.index * share + s * block_threads + threadIdx.x;
        if (i >= rows) break;
        const T angle = atan2(value_of_key<T>(second[i]), value_of_key<T>(first[i]));
        first[i] = key_of_value(static_cast<T>(angle * T(turns_per_radian)));
    }
}

__device__ int64_t divided_down(int64_t a, int64_t b) { return a / b - (a % b < 0); }

// Ascending angles, all within one turn, that go on around the circle.
template <class T>
struct Turns {
    const Key<T>* keys;
    int64_t size;

    __device__ double operator[](int64_t i) const {
        return static_cast<double>(value_of_key<T>(keys[i]));
    }
    __device__ double on(int64_t steps) const {
        const int64_t turns = divided_down(steps, size);
        return (*this)[steps - turns * size] + static_cast<double>(turns);
    }
    __device__ double mean() const {
        double sum = 0.0;
        for (int64_t i = threadIdx.x; i < size; i += block_threads) sum += (*this)[i];
        return for_all(block_total(sum)) / static_cast<double>(size);
    }
};

// x is the larger sample: a point of it meets two of y at most. All threads are told the same.
template <class T>
struct Circle {
    Turns<T> x, y;
    int64_t x_mass, y_mass, mass;  // of a point of x, of a point of y, of all

    // visit(X − Y_j, X − Y_{j−1}) where Y steps from one to the other.
    template <class Visit>
    __device__ void steps(int64_t shift, const Visit& visit) const {
        for (int64_t j = threadIdx.x; j < y.size; j += block_threads) {
            const double from = x.on(divided_down(j * y_mass - shift - 1, x_mass));
            visit(from - y[j], from - (j ? y[j - 1] : y[y.size - 1] - 1.0));
        }
    }
    // visit(X − Y, mass) for all pieces of the plan with this shift.
    template <class Visit>
    __device__ void couple(int64_t shift, const Visit& visit) const {
        for (int64_t i = threadIdx.x; i < x.size; i += block_threads) {
            const int64_t begin = i * x_mass + shift, end = begin + x_mass;
            for (int64_t j = divided_down(begin, y_mass); j * y_mass < end; ++j) {
                const int64_t from = j * y_mass > begin ? j * y_mass : begin;
                const int64_t to = (j + 1) * y_mass < end ? (j + 1) * y_mass : end;
                visit(x[i] - y.on(j), static_cast<double>(to - from));
            }
        }
    }
    // Of the cost, from this shift to the next; of large powers its root, with the sign.
    template <class Cost>
    __device__ double slope(Cost cost, int64_t shift) const {
        double top = 0.0, sum = 0.0;
        if constexpr (requires { cost.unit; }) {
            steps(shift, [&](double after, double before) {
                top = fmax(top, fmax(fabs(after), fabs(before)));
            });
            top = for_all(block_largest(top));
            if (top == 0.0) return 0.0;
            cost.unit = 1.0 / top;
        }
        steps(shift,
              [&](double after, double before) { sum += cost.value(after) - cost.value(before); });
        sum = for_all(block_total(sum));
        if constexpr (requires { cost.unit; }) {
            return copysign(top * pow(fabs(sum), 1.0 / cost.p), sum);
        } else {
            return sum;
        }
    }
    template <class Cost>
    __device__ double cost_of(const Cost& cost, int64_t shift) const {
        double sum = 0.0;
        couple(shift,
               [&](double difference, double piece) { sum += piece * cost.value(difference); });
        return for_all(block_total(sum)) / static_cast<double>(mass);
    }
    // W_p
    template <class Cost>
    __device__ double exact(Cost cost) const {
        const int64_t shift = least_shift(mass, [&](int64_t at) { return slope(cost, at); });
        if constexpr (requires { cost.unit; }) {
            double top = 0.0;
            couple(shift, [&](double difference, double) { top = fmax(top, fabs(difference)); });
            top = for_all(block_largest(top));
            if (top == 0.0) return 0.0;
            cost.unit = 1.0 / top;
            return top * pow(cost_of(cost, shift), 1.0 / cost.p);
        } else {
            return cost_of(cost, shift);
        }
    }
    // For p = 2 by way of the uniform distribution.
    __device__ double linear() const {
        const double n = static_cast<double>(x.size), m = static_cast<double>(y.size);
        const double shift = x.mean() - y.mean();
        const auto end_of_x = [=](int64_t i) { return static_cast<double>(i + 1) / n; };
        const auto end_of_y = [=](int64_t j) { return static_cast<double>(j + 1) / m - shift; };
        double sum = 0.0;
        for (int64_t i = threadIdx.x; i < x.size; i += block_threads) {
            const double begin = i ? end_of_x(i - 1) : 0.0, end = end_of_x(i);
            // off by one at most
            auto j = static_cast<int64_t>(floor((begin + shift) * m)) - 1;
            for (double from = begin; from < end; ++j) {
                const double to = fmin(end, end_of_y(j));
                if (to <= from) continue;
                const double apart = x[i] - y.on(j), way = apart - rint(apart);
                sum += (to - from) * way * way;
                from = to;
            }
        }
        return sqrt(for_all(block_total(sum)));
    }
};

struct ExactPlan {
    double p;
    template <class T>
    __device__ double operator()(const Circle<T>& circle) const {
        if (p == 1) return circle.exact(AbsoluteCost{});
        if (p == 2) return sqrt(circle.exact(SquaredCost{}));
        return circle.exact(PowerCost{p});
    }
};

struct LinearPlan {
    template <class T>
    __device__ double operator()(const Circle<T>& circle) const {
        return circle.linear();
    }
};

template <class T, class Plan>
__global__ void __launch_bounds__(block_threads)
    go_around(Circle<T> circle, int64_t x_stride, int64_t y_stride, Plan plan, double* distances) {
    circle.x.keys += blockIdx.x * x_stride;
    circle.y.keys += blockIdx.x * y_stride;
    const double distance = plan(circle);
    if (threadIdx.x == 0) distances[blockIdx.x] = distance;
}

}  // namespace

template <class T>
void turn_into_angles(void* keys, int64_t rows, int64_t count, cudaStream_t stream) {
    const int64_t shares = shares_of(rows);
    launch("turn_into_angles", turn_keys<T>, block_per_share(count, shares), block_threads, stream,
           static_cast<Key<T>*>(keys), rows, stride_of(rows), count, shares);
}

template <class T>
void circle_distances(const SortedLists& x, const SortedLists& y, int64_t count, double p,
                      bool linear, double* distances, cudaStream_t stream) {
    const bool turned = x.rows < y.rows;
    const SortedLists &larger = turned ? y : x, &smaller = turned ? x : y;
    const int64_t n = larger.rows, m = smaller.rows, common = std::gcd(n, m);
    const Circle<T> circle = {{static_cast<const Key<T>*>(larger.keys), n},
                              {static_cast<const Key<T>*>(smaller.keys), m},
                              m / common,
                              n / common,
                              n / common * m};
    const auto go = [&]<class Plan>(const Plan& plan) {
        launch("circle_distances", go_around<T, Plan>, static_cast<unsigned>(count), block_threads,
               stream, circle, stride_of(n), stride_of(m), plan, distances);
    };
    linear ? go(LinearPlan{}) : go(ExactPlan{p});
}

#define PT_INSTANTIATE(T)                                                                      \
    template void turn_into_angles<T>(void*, int64_t, int64_t, cudaStream_t);                  \
    template void circle_distances<T>(const SortedLists&, const SortedLists&, int64_t, double, \
                                      bool, double*, cudaStream_t);
PT_INSTANTIATE(float)
PT_INSTANTIATE(double)
#undef PT_INSTANTIATE

}  // namespace pairtile::gpu

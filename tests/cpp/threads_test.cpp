// Many threads in the engine at once, each call with workers of its own, while another thread
// forces tiles and screens: every call gets the bits that it gets alone. Built with ThreadSanitizer
// (preset tsan) this also looks for data races in what calls share.
#include <atomic>
#include <functional>
#include <thread>

#include "check.hpp"
#include "engine/blocking.hpp"
#include "engine/isa.hpp"
#include "engine/screen.hpp"
#include "kernels/gradient.hpp"
#include "kernels/sums.hpp"
#include "losses/pairs.hpp"
#include "losses/self_softmax.hpp"
#include "losses/sigmoid.hpp"
#include "losses/softmax.hpp"
#include "neighbors/index.hpp"
#include "neighbors/knn.hpp"
#include "neighbors/radius.hpp"
#include "slices/slices.hpp"

namespace {

using namespace check;
using namespace pairtile;

constexpr int64_t n = 150, m = 170, d = 11, k = 7;
constexpr int callers = 8, rounds = 6, workers = 2;

Array view_of(const std::vector<float>& values, int64_t cols) {
    constexpr int64_t size = sizeof(float);
    return {reinterpret_cast<const char*>(values.data()),
            static_cast<int64_t>(values.size()) / cols,
            cols,
            cols * size,
            size,
            Dtype::float32,
            false};
}

using Numbers = std::vector<double>;
// A call and its results, all as float64: indices and counts fit.
using Call = std::function<Numbers(Control&)>;

template <class... Parts>
Numbers joined(const Parts&... parts) {
    Numbers all;
    const auto append = [&all](const auto& part) {
        for (const auto& number : part) all.push_back(static_cast<double>(number));
    };
    (append(parts), ...);
    return all;
}

struct Data {
    Random random{5};
    std::vector<float> x = normals<float>(random, n*d), y = normals<float>(random, m*d);
    std::vector<float> lines = normals<float>(random, d * 9);
    Source of_x{view_of(x, d)}, of_y{view_of(y, d)};
    Numbers ones = Numbers(static_cast<size_t>(m), 1.0);
    std::vector<int64_t> targets = std::vector<int64_t>(static_cast<size_t>(n), 3);
    std::vector<KernelTerm> kernel{{1.0, KernelId::gaussian, {0.1}},
                                   {0.5, KernelId::energy, {1.0}}};
};

Numbers neighbors(const Data& data, const Index* index, Control& control) {
    std::vector<double> distances(static_cast<size_t>(n * k));
    std::vector<int64_t> indices(distances.size());
    const SearchRequest request{
        data.of_x, data.of_y, {MetricId::euclidean, {}}, Precision::standard, index};
    knn<double>(request, k, {}, control, distances.data(), indices.data());
    return joined(distances, indices);
}

// Decided by the order of canonical values: the same bits whatever tiles and screens are forced.
std::vector<Call> ordered_calls(const Data& data, const Index& index) {
    return {
        [&](Control& control) { return neighbors(data, nullptr, control); },
        [&](Control& control) { return neighbors(data, &index, control); },
        [&](Control& control) {
            const Numbers limits(static_cast<size_t>(n), 3.0 * d / 2);
            std::vector<int64_t> counts(static_cast<size_t>(n), 0);
            RadiusCounts by_row;
            by_row.rows = counts.data();
            const SearchRequest request{data.of_x, data.of_y, {MetricId::sqeuclidean, {}}};
            radius_count(request, false, limits.data(), nullptr, control, by_row, {});
            return joined(counts);
        },
    };
}

std::vector<Call> float_calls(const Data& data) {
    return {
        [&](Control& control) {
            Numbers sums(static_cast<size_t>(n));
            kernel_row_sums(data.of_x, data.of_y, data.kernel, data.ones.data(),
                            Precision::standard, control, sums.data());
            return sums;
        },
        [&](Control& control) {
            Numbers rows(n), cols(m), by_x(n * d), by_y(m * d);
            kernel_gradient(data.of_x, data.of_y, false, false, data.kernel, data.ones.data(),
                            data.ones.data(), Precision::standard, control,
                            {rows.data(), cols.data(), by_x.data(), by_y.data()});
            return joined(rows, cols, by_x, by_y);
        },
        [&](Control& control) {
            Numbers losses(n), logs(n);
            std::vector<float> by_x(n * d), by_y(m * d);
            SoftmaxLosses<float> out;
            out.per_row = losses.data();
            out.lse_row = logs.data();
            out.gradients = {by_x.data(), by_y.data()};
            SoftmaxOptions options;
            options.positives.targets = data.targets.data();
            options.label_smoothing = 0.1;
            softmax_losses(
                {data.of_x, data.of_y, 0.5, nullptr, true, false, data.ones.data(), control},
                options, out);
            return joined(losses, by_x, by_y);
        },
        [&](Control& control) {
            Numbers losses(n), logs(n);
            std::vector<float> by_x(n * d);
            SoftmaxLosses<float> out;
            out.per_row = losses.data();
            out.lse_row = logs.data();
            out.gradients = {by_x.data(), by_x.data()};
            Positives positives;
            positives.row_labels = positives.col_labels = data.ones.data();
            self_softmax_losses(
                {data.of_x, data.of_x, 0.5, nullptr, true, true, data.ones.data(), control},
                positives, out);
            return joined(losses, by_x);
        },
        [&](Control& control) {
            Numbers losses(n);
            std::vector<float> by_x(n * d);
            const double parameters[] = {2.0, 5.0, 0.5};
            pair_losses<float>(
                {data.of_x, data.of_x, 1.0, nullptr, true, true, data.ones.data(), control},
                {PairLossId::multi_similarity, parameters, data.ones.data(), 0.1}, losses.data(),
                by_x.data());
            return joined(losses, by_x);
        },
        [&](Control& control) {
            Numbers losses(n);
            std::vector<float> by_x(n * d), by_y(m * d);
            SigmoidLosses<float> out;
            out.per_row = losses.data();
            out.gradients = {by_x.data(), by_y.data()};
            Positives positives;
            positives.targets = data.targets.data();
            sigmoid_losses(
                {data.of_x, data.of_y, 0.5, nullptr, false, false, data.ones.data(), control},
                positives, -1.0, out);
            return joined(losses, by_x, by_y, Numbers{out.grad_scale, out.grad_bias});
        },
        [&](Control& control) {
            const Array lines = view_of(data.lines, 9);
            const Slices slices{view_of(data.x, d), view_of(data.y, d), &lines};
            Numbers costs(9);
            std::vector<float> by_x(n * d), by_y(m * d);
            Numbers x_slopes(n), y_slopes(m), moments(4 * 9);
            transport_slices<float>(slices, {2.0},
                                    {costs.data(),
                                     {by_x.data(), by_y.data()},
                                     x_slopes.data(),
                                     y_slopes.data(),
                                     moments.data()},
                                    control);
            return joined(costs, by_x, by_y, x_slopes, y_slopes, moments);
        },
    };
}

// Every call from every thread, each starting with another one, against what it gave alone.
void check_together(const std::vector<Call>& calls) {
    std::vector<Numbers> alone;
    for (const Call& call : calls) {
        Control control([](int64_t, int64_t) {}, 1);
        alone.push_back(call(control));
    }
    std::atomic<int64_t> differing{0};
    std::vector<std::thread> threads;
    for (int caller = 0; caller < callers; ++caller) {
        threads.emplace_back([&, caller] {
            for (size_t i = 0; i < rounds * calls.size(); ++i) {
                const size_t which = (i + static_cast<size_t>(caller)) % calls.size();
                Control control([](int64_t, int64_t) {}, workers);
                differing += calls[which](control) != alone[which];
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(differing == 0, differing.load(), "calls");
}

TEST(threads_share_the_engine) {
    choose_isa("");
    const Data data;
    check_together(float_calls(data));
}

TEST(threads_share_an_index_while_tiles_and_screens_are_forced) {
    choose_isa("");
    const Data data;
    Control control([](int64_t, int64_t) {}, workers);
    const Index index =
        pack_index(data.of_y, {MetricId::euclidean, {}}, Precision::standard, control);
    std::atomic<bool> done{false};
    std::thread forcing([&] {
        for (int64_t i = 0; !done; ++i) {
            force_tile(i % 3 * 16, i % 2 * 16);
            force_screen(i % 2 ? "float64" : "");
            std::this_thread::yield();
        }
        force_tile(0, 0);
        force_screen("");
    });
    check_together(ordered_calls(data, index));
    done = true;
    forcing.join();
}

}  // namespace

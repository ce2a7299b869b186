// Runs every TEST of the executable, or those whose name holds the first argument.
#include <chrono>
#include <cstdio>
#include <string>

#include "check.hpp"
#include "engine/isa.hpp"

int main(int argc, char** argv) {
    const std::string wanted = argc > 1 ? argv[1] : "";
    int run = 0, failed = 0;
    for (const check::Test& test : check::tests()) {
        if (std::string(test.name).find(wanted) == std::string::npos) continue;
        const auto start = std::chrono::steady_clock::now();
        check::failures = 0;
        pairtile::choose_isa("");  // the best one, whichever the test before chose
        test.run();
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
        ++run;
        failed += check::failures > 0;
        std::printf("%-6s %6.2f s  %s", check::failures ? "FAILED" : "ok", seconds.count(),
                    test.name);
        if (check::failures) std::printf(": %lld checks", static_cast<long long>(check::failures));
        std::printf("\n");
    }
    std::printf("%d tests, %d failed\n", run, failed);
    return failed > 0 || run == 0;
}

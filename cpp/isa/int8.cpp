// Products of bytes for an instruction set that adds nothing else to another, named by
// PAIRTILE_ISA: engine/isa.cpp puts these into the other's table.
// clang-format off
#define PT_QUOTED(path) #path
#define PT_PASTE(folder, name) PT_QUOTED(folder/name.hpp)
#define PT_ISA_HEADER(name) PT_PASTE(isa, name)
// clang-format on
#include PT_ISA_HEADER(PAIRTILE_ISA)
#include "isa/columns.hpp"

#include "isa/tile/whole.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

extern const Int8Ops int8_ops;
constinit const Int8Ops int8_ops = {isa_name, core_tile_whole<Bytes>, pack_whole<int8_t, float>,
                                    pack_whole<int8_t, double>};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile

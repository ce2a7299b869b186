"""Everything to run first on a machine with a GPU: `python -m bench.gpu`.

steps     the tests marked `gpu`, and a part of them under compute-sanitizer, each with its time
cells     what is measured: inputs made on the device, work, floor, judge
plain     the same statistics in whole-array operations: peers in float32, judges in float64
library   what `plain` and the cells ask of torch or CuPy
peers     who is measured beside us, and what each can do
device    CUDA events, ceilings, memory, the machine in words
worker    the process that measures; a crash in it costs one entry
record    what was measured, as JSON, as a table and as a picture
"""

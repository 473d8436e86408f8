"""The machine: HBM, SRAM, thread blocks, counts. Nothing here knows attention, but for the names of the lane axes."""

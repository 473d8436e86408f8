"""The machine: HBM, SRAM, thread blocks and counts. Nothing here knows attention, except the names of the lane axes."""

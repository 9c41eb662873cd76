// Command storagebench measures the log against yardsticks that run in turn with it, and prints the table of targets.
//
// Only ratios mean anything: each round measures both sides of a ratio one after the other, in seeded random order, and the table shows the median of the
// rounds' ratios. Every measurement runs in processes of its own, so that CPU time, memory and written bytes are those of what was measured: at the store the
// measuring process itself, at the broker the server's processes.
//
//   - CPU-s/GB: user and system time (getrusage, or /proc/PID/stat of servers) per 10^9 bytes of batches.
//   - Write amplification: /proc/PID/io write_bytes less cancelled_write_bytes, per byte of batches. The kernel counts a page when it becomes dirty, so pages that
//     are still to be written count, and pages whose file was removed first do not.
//   - Memory: VmHWM.
package main

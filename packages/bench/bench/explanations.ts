/** What stands above the tables. */

/** By how much more the work is divided where all code is interpreted. */
export const INTERPRETED_DIVISOR = 8;

export const nestedExplanation = `## Nested guests

All levels run in one boot: L1, L2 under Debian's KVM, L3 under L2's KVM, EPT or NPT on. User code and the list run with a nanosecond of guest time for each instruction, without the JIT, whose warm-up, and luck in what
it compiles together, would hide what nesting costs. Each level runs the list twice, and the better time of a test counts: CPU time in L2 and L3 in terms of L1's, without what printing the lines of a test costs there; beside it
the instructions that all levels execute for the test in terms of L1's. Hypervisors serve 250 timer ticks for each thousand million: in L3 each is 10 VM exits and some 60,000 instructions of two KVMs on VMX, 16 and
58,000 on SVM, which at that rate are never in the host's caches and take several times what warm instructions do. Exits are those of a small guest to KVM and back (\`tools/guests/programs/tkvm.c\`): KVM's own work is
most of them. In the first table of exits it is interpreted like all else.
`;

export const migrationExplanation = `## Save, load and migrate

Debian in 1 GiB, moved between two processes over a unix socket with a downtime limit of 100 ms, idle and while it writes 50 MB a second into a file in memory. Clear pages are left out by both.
Targets have waited for two seconds when the source comes, as targets do: what they do until then to be ready is not counted, of either.
Each emulator does all of it five times, in turns, and the best of each row counts.
Times are the host's, and say little on a busy one; the rates are those of CPU time. What the dirty log costs is measured in one process, the same tests in turns with and without it,
with a pass over the memory every half second of CPU time.
`;

export const explanation = `# Benchmarks

The same Debian kernel and initramfs boot on both emulators in turns and run the same programs (\`tools/guests/programs/nbench.c\`), whose results must be equal; then a small guest
without an operating system does, for what kernels do at their edges (\`packages/guests/src/event-tests.ts\`: the lines from \`int\` on). Each test takes QEMU half a second to a second,
so that code is compiled for most of it; the boot is the cold figure: most of what it executes runs once or a few times. CPU time is
that of the emulator's whole process, wall time is the host's; each is the best of the runs. The M instructions are those that the guest executes in a test, its kernel included, counted by QEMU.
Printed by \`pnpm bench --write\`.
`;

export const interpreterExplanation = `## Without the JIT

The same list with \`-accel tcg,jit=off\`, its work divided by ${INTERPRETED_DIVISOR} more, on both emulators: all code by the interpreter, whose handlers are WebAssembly.
`;

export const categoriesExplanation = `By category: geometric means of how many times as fast Nestvm is as QEMU's TCG (QEMU's CPU time ÷ Nestvm's; more is better), and what the project wants of them.
`;

export const browserExplanation = `## In a browser

The list, its work divided by ${INTERPRETED_DIVISOR}, in a Worker of headless Chromium and in Node, in turns, each the best of its runs by the wall clock. Printed by \`pnpm bench --browser --write\`.
`;

export const ltsExplanation = `## On the newest Node LTS

The list, its work divided by ${INTERPRETED_DIVISOR}, on both versions of Node in turns, with and without the JIT. Printed by \`pnpm bench --lts --write\`.
`;

export const deviceExplanation = `# Benchmarks of devices

The same full kernel of Debian with its virtio drivers on both emulators in turns (\`tools/guests/programs/iobench.c\`): 256 MiB written and 384 MiB read in pieces of 64 KiB and 8000 blocks of 4 KiB on a raw disk,
past the guest's cache; three walks over a folder of the host with 2000 small files by 9P, and reading all of it with a large one of 16 MiB; 96 MiB to the guest, 48 MiB from it and 4000 requests of 64 bytes over TCP, by a user network and by a socket with a user network of \`nestvm relay\` behind it.
The list is done six times in each boot, and the last counts: kernel code on the way of a request runs once for each, and the JIT compiles what has run some ten thousand times.
Most of the boot is the kernel unpacking itself: it is packed with XZ, and the decoder's some 4500 million instructions are interpreted at the rate of user code; without them it is like that of the cloud kernel (LZ4).
CPU time is that of the emulator's whole process, wall time is the host's; each is the best of the runs. Printed by \`pnpm bench --devices --write\`.
`;

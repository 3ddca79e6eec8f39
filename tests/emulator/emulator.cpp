// Runs the kernels of backend/model/kernels/kernels.cu on the CPU, one block after the other. The threads of a block take turns: each
// runs until it waits for others or ends.
// tests/integration/emulator.rs compiles it into a library for a number type (and a head width and group) and calls emulate(), whose
// arguments are those of cuLaunchKernel: for each of the kernel's arguments, where it is.

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#define EMULATED
#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(threads)
#define ALIGNED(bytes) alignas(bytes)
#define MINUS_INFINITY (-INFINITY)
#define LANES(value, distance) exchange(value, distance)
#define __syncthreads() block_barrier.wait()

struct Dim3 {
  unsigned x = 0, y = 0, z = 0;
};
static Dim3 threadIdx, blockIdx, blockDim;

struct Thread {
  ucontext_t context;
  jmp_buf place;
  std::vector<char> stack;
  bool born = false, done = false;
};
static std::vector<Thread> threads;
static jmp_buf scheduler;
static std::function<void()> body;

// Lets another thread run. Contexts only begin threads: a jump is many times as fast as a change of context.
static void yield() {
  if (!_setjmp(threads[threadIdx.x].place)) _longjmp(scheduler, 1);
}

// Where threads wait for each other. A thread that returns leaves, as it does on a GPU.
struct Barrier {
  unsigned expected = 0, arrived = 0, generation = 0;
  void release() {
    arrived = 0;
    generation++;
  }
  void wait() {
    unsigned mine = generation;
    if (++arrived == expected) return release();
    while (generation == mine) yield();
  }
  void leave() {
    if (--expected > 0 && arrived == expected) release();
  }
};
static Barrier block_barrier;
static std::vector<Barrier> warp_barriers;
static std::vector<float> lanes;

static float exchange(float value, unsigned distance) {
  unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  lanes[threadIdx.x] = value;
  warp_barriers[warp].wait();
  float other = lanes[warp * 32 + (lane ^ distance)];
  warp_barriers[warp].wait();
  return other;
}

// What a thread does for ever: its part of one block after the other.
static void live() {
  for (;;) {
    body();
    unsigned own = threadIdx.x;
    threads[own].done = true;
    warp_barriers[own / 32].leave();
    block_barrier.leave();
    yield();
  }
}

static void resume(Thread& thread) {
  if (_setjmp(scheduler)) return;
  if (thread.born) _longjmp(thread.place, 1);
  thread.born = true;
  thread.stack.resize(1 << 16);
  getcontext(&thread.context);
  thread.context.uc_stack.ss_sp = thread.stack.data();
  thread.context.uc_stack.ss_size = thread.stack.size();
  thread.context.uc_link = nullptr;
  makecontext(&thread.context, live, 0);
  setcontext(&thread.context);
}

// One block: `body` in every thread.
static void run_block() {
  block_barrier = {blockDim.x};
  warp_barriers.assign((blockDim.x + 31) / 32, Barrier{32});
  if (threads.size() < blockDim.x) threads.resize(blockDim.x);
  for (Thread& thread : threads) thread.done = false;
  for (unsigned running = blockDim.x; running > 0;) {
    running = 0;
    for (unsigned thread = 0; thread < blockDim.x; thread++) {
      if (threads[thread].done) continue;
      threadIdx = {thread, 0, 0};
      resume(threads[thread]);
      running += !threads[thread].done;
    }
  }
}

static unsigned __float_as_uint(float x) {
  unsigned bits;
  memcpy(&bits, &x, 4);
  return bits;
}
static float __uint_as_float(unsigned bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

#if NUMBER == 2
static float wide(unsigned short x) {
  _Float16 y;
  memcpy(&y, &x, 2);
  return (float)y;
}
static unsigned short narrow(float x) {
  _Float16 y = (_Float16)x;
  unsigned short bits;
  memcpy(&bits, &y, 2);
  return bits;
}
#endif

#include "../../backend/model/kernels/kernels.cu"

template <class... Parameters>
static bool launch(void (*kernel)(Parameters...), void** arguments, unsigned count, unsigned x, unsigned y) {
  if (count != sizeof...(Parameters)) return false;
  body = [&] {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      kernel(*static_cast<Parameters*>(arguments[I])...);
    }(std::index_sequence_for<Parameters...>());
  };
  for (unsigned by = 0; by < y; by++)
    for (unsigned bx = 0; bx < x; bx++) {
      blockIdx = {bx, by, 0};
      run_block();
    }
  return true;
}

// Whether there is such a kernel with as many arguments, and it ran.
extern "C" __attribute__((visibility("default"))) bool emulate(const char* name, unsigned x, unsigned y, unsigned width, void** arguments, unsigned count) {
  blockDim = {width, 1, 1};
  lanes.assign(width, 0.0f);
  std::string asked = name;
#define KERNEL(known) \
  if (asked == #known) return launch(known, arguments, count, x, y);
  KERNEL(swiglu)
  KERNEL(activate)
  KERNEL(arrange_heads)
  KERNEL(enter_cache)
  KERNEL(gate_tail)
  KERNEL(enter_gate)
  KERNEL(select_kept)
  KERNEL(pack_kept)
  KERNEL(embed)
  KERNEL(add_norm)
  KERNEL(draw)
  KERNEL(advance)
#ifdef HEAD_DIM
  KERNEL(attend_part)
  KERNEL(attend_whole)
#endif
  return false;
}

// Runs the kernels of backend/model/kernels/kernels.cu on the CPU, one block after the other. The threads of a block take turns: each
// runs until it waits for others or ends.
// The test kernels.rs compiles it for a number type (and a head width and group) and talks to it in binary.
//
//   emulator KERNEL BLOCKS_X BLOCKS_Y THREADS RESULT ARGUMENT... < numbers > result
//
// RESULT: how many numbers (floats, for attend_part) the result has. ARGUMENTs are the kernel's own in order: r:N for N numbers from the
// input, f:N for N floats, c:N for N counts, 0 for a null pointer, w for the result, s:N for a size, x:F for a float.

#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#define EMULATED
#define __device__
#define __global__
#define __shared__ static
#define MINUS_INFINITY (-INFINITY)
#define LANES(value, distance) exchange(value, distance)
#define __syncthreads() block_barrier.wait()

struct Dim3 {
  unsigned x = 0, y = 0, z = 0;
};
static Dim3 threadIdx, blockIdx, blockDim;

struct Thread {
  ucontext_t context;
  std::vector<char> stack;
  bool done = false;
};
static std::vector<Thread> threads;
static ucontext_t scheduler;
static std::function<void()> body;

// Lets another thread run.
static void yield() {
  unsigned own = threadIdx.x;
  swapcontext(&threads[own].context, &scheduler);
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

static void start() {
  body();
  unsigned own = threadIdx.x;
  threads[own].done = true;
  warp_barriers[own / 32].leave();
  block_barrier.leave();
}

// One block: `body` in every thread.
static void run_block() {
  block_barrier = {blockDim.x};
  warp_barriers.assign((blockDim.x + 31) / 32, Barrier{32});
  threads = std::vector<Thread>(blockDim.x);
  for (Thread& thread : threads) {
    thread.stack.resize(1 << 16);
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = thread.stack.size();
    thread.context.uc_link = &scheduler;
    makecontext(&thread.context, start, 0);
  }
  for (unsigned running = blockDim.x; running > 0;) {
    running = 0;
    for (unsigned thread = 0; thread < blockDim.x; thread++) {
      if (threads[thread].done) continue;
      threadIdx = {thread, 0, 0};
      swapcontext(&scheduler, &threads[thread].context);
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

// An argument as it came, to be whatever the kernel's signature says.
struct Argument {
  std::vector<char> bytes;
  void* pointer = nullptr;
  size whole = 0;
  float real = 0;
  template <class T>
  operator T*() const {
    return (T*)pointer;
  }
  operator size() const { return whole; }
  operator float() const { return real; }
};

template <class... Parameters>
static void launch(void (*kernel)(Parameters...), const std::vector<Argument>& arguments, unsigned x, unsigned y) {
  if (arguments.size() != sizeof...(Parameters)) {
    fprintf(stderr, "the kernel takes %zu arguments, not %zu\n", sizeof...(Parameters), arguments.size());
    exit(1);
  }
  body = [&] {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      kernel(static_cast<Parameters>(arguments[I])...);
    }(std::index_sequence_for<Parameters...>());
  };
  for (unsigned by = 0; by < y; by++)
    for (unsigned bx = 0; bx < x; bx++) {
      blockIdx = {bx, by, 0};
      run_block();
    }
}

static std::vector<char> input(std::size_t bytes) {
  std::vector<char> read(bytes);
  if (fread(read.data(), 1, bytes, stdin) != bytes) {
    fprintf(stderr, "the input is too short\n");
    exit(1);
  }
  return read;
}

int main(int count, char** words) {
  if (count < 6) return 1;
  std::string kernel = words[1];
  unsigned x = atoi(words[2]), y = atoi(words[3]);
  blockDim = {(unsigned)atoi(words[4]), 1, 1};
  lanes.resize(blockDim.x);
  std::size_t width = kernel == "attend_part" ? sizeof(float) : sizeof(number);
  std::vector<char> result(strtoull(words[5], nullptr, 10) * width);
  std::vector<Argument> arguments(count - 6);
  for (int i = 6; i < count; i++) {
    Argument& argument = arguments[i - 6];
    char kind = words[i][0];
    const char* rest = words[i][1] ? words[i] + 2 : "";
    if (kind == 'r') argument.bytes = input(strtoull(rest, nullptr, 10) * sizeof(number));
    if (kind == 'f') argument.bytes = input(strtoull(rest, nullptr, 10) * sizeof(float));
    if (kind == 'c') argument.bytes = input(strtoull(rest, nullptr, 10) * sizeof(unsigned));
    if (kind == 'r' || kind == 'f' || kind == 'c') argument.pointer = argument.bytes.data();
    if (kind == 'w') argument.pointer = result.data();
    if (kind == 's') argument.whole = strtoull(rest, nullptr, 10);
    if (kind == 'x') argument.real = strtof(rest, nullptr);
  }
  if (kernel == "swiglu") launch(swiglu, arguments, x, y);
  else if (kernel == "arrange_heads") launch(arrange_heads, arguments, x, y);
  else if (kernel == "gate_tail") launch(gate_tail, arguments, x, y);
#ifdef HEAD_DIM
  else if (kernel == "attend_part") launch(attend_part, arguments, x, y);
  else if (kernel == "attend_whole") launch(attend_whole, arguments, x, y);
#endif
  else return 1;
  fwrite(result.data(), 1, result.size(), stdout);
  return 0;
}

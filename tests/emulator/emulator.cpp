// Runs the kernels of backend/model/kernels/kernels.cu on the CPU, one block after the other, each thread of a block a thread.
// The test kernels.rs compiles it for a number type (and a head width and group) and talks to it in binary.
//
//   emulator KERNEL BLOCKS_X BLOCKS_Y THREADS RESULT ARGUMENT... < numbers > result
//
// RESULT: how many numbers (floats, for attend_part) the result has. ARGUMENTs are the kernel's own in order: r:N for N numbers from the
// input, f:N for N floats, c:N for N counts, 0 for a null pointer, w for the result, s:N for a size, x:F for a float.

#include <barrier>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#define EMULATED
#define __device__
#define __global__
#define __shared__ static
#define MINUS_INFINITY (-INFINITY)
#define LANES(value, distance) exchange(value, distance)
#define __syncthreads() block_barrier->arrive_and_wait()

struct Dim3 {
  unsigned x = 0, y = 0, z = 0;
};
static thread_local Dim3 threadIdx, blockIdx;
static Dim3 blockDim;

// A thread that returns leaves the barriers, as it does on a GPU.
static std::unique_ptr<std::barrier<>> block_barrier;
static std::vector<std::unique_ptr<std::barrier<>>> warp_barriers;
static std::vector<float> lanes;

static float exchange(float value, unsigned distance) {
  unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  lanes[threadIdx.x] = value;
  warp_barriers[warp]->arrive_and_wait();
  float other = lanes[warp * 32 + (lane ^ distance)];
  warp_barriers[warp]->arrive_and_wait();
  return other;
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
  for (unsigned by = 0; by < y; by++)
    for (unsigned bx = 0; bx < x; bx++) {
      block_barrier = std::make_unique<std::barrier<>>(blockDim.x);
      warp_barriers.clear();
      for (unsigned warp = 0; warp < (blockDim.x + 31) / 32; warp++)
        warp_barriers.push_back(std::make_unique<std::barrier<>>(32));
      std::vector<std::thread> threads;
      for (unsigned thread = 0; thread < blockDim.x; thread++)
        threads.emplace_back([&, thread] {
          threadIdx = {thread, 0, 0};
          blockIdx = {bx, by, 0};
          [&]<std::size_t... I>(std::index_sequence<I...>) {
            kernel(static_cast<Parameters>(arguments[I])...);
          }(std::index_sequence_for<Parameters...>());
          warp_barriers[thread / 32]->arrive_and_drop();
          block_barrier->arrive_and_drop();
        });
      for (std::thread& thread : threads) thread.join();
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
